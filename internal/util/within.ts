/** Resolves to whether a promise is fulfilled within so many ms, as soon as that is known. */
export async function within(
  ms: number,
  event: Promise<unknown>,
): Promise<boolean> {
  if (ms === Infinity) return await event.then(() => true);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), ms);
  const happens = await Promise.race([event.then(() => true), promise]);
  clearTimeout(timer);
  return happens;
}
