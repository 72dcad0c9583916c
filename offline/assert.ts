/**
 * Stand-ins for what is used here of `@std/assert`, over `node:assert`. Where the
 * two differ these are the stricter ones: what passes here passes there.
 */
import nodeAssert, { AssertionError } from "node:assert/strict";

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Fails if the expression is not truthy. */
export function assert(expr: unknown, msg?: string): asserts expr {
  nodeAssert.ok(expr, msg);
}

/** Fails if the values are not deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  nodeAssert.deepEqual(plain(actual), plain(expected), msg);
}

/** Deno makes addresses without a prototype; `@std/assert` does not mind. */
function plain(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.getPrototypeOf(value) === null ? { ...value } : value;
}

/** Fails if the values are not the same. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  nodeAssert.strictEqual(actual, expected, msg);
}

/** Fails if the values are the same or deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  nodeAssert.notDeepEqual(plain(actual), plain(expected), msg);
}

/** Fails if the value is not greater. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  nodeAssert.ok(actual > expected, msg ?? `Expect ${actual} > ${expected}`);
}

/** Fails if the value is less. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  nodeAssert.ok(actual >= expected, msg ?? `Expect ${actual} >= ${expected}`);
}

/** Fails if the value is not less. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  nodeAssert.ok(actual < expected, msg ?? `Expect ${actual} < ${expected}`);
}

/** Fails if the value is greater. */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  nodeAssert.ok(actual <= expected, msg ?? `Expect ${actual} <= ${expected}`);
}

/** Fails if the value is not an instance of the class. */
export function assertInstanceOf<T>(
  actual: unknown,
  // deno-lint-ignore no-explicit-any
  expectedType: abstract new (...args: any[]) => T,
  msg?: string,
): asserts actual is T {
  nodeAssert.ok(
    actual instanceof expectedType,
    msg ?? `Expected an instance of ${expectedType.name}: received ${actual}`,
  );
}

/** Fails if the text does not contain the other. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  nodeAssert.ok(
    actual.includes(expected),
    msg ??
      `Expected ${JSON.stringify(actual)} to contain ${
        JSON.stringify(expected)
      }`,
  );
}

/** Fails if the text does not match. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  nodeAssert.match(actual, expected, msg);
}

/** Fails, always. */
export function fail(msg?: string): never {
  nodeAssert.fail(`Failed assertion${msg ? `: ${msg}` : "."}`);
}

/** Fails if the function does not throw such an error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
): E {
  try {
    fn();
  } catch (error) {
    return checkError(error, errorClass, msgIncludes);
  }
  throw new AssertionError({ message: "Expected function to throw." });
}

/** Fails if the function does not return a promise that rejects with such an error. */
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
): Promise<E> {
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch {
    promise = undefined as never;
  }
  if (typeof promise?.then !== "function") {
    throw new AssertionError({
      message: "Function throws when expected to reject.",
    });
  }
  try {
    await promise;
  } catch (error) {
    return checkError(error, errorClass, msgIncludes);
  }
  throw new AssertionError({ message: "Expected function to reject." });
}

function checkError<E extends Error>(
  error: unknown,
  errorClass: ErrorClass<E> = Error as never,
  msgIncludes = "",
): E {
  assertInstanceOf(error, errorClass);
  assertStringIncludes(error.message, msgIncludes);
  return error;
}
