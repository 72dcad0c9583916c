/** A directory for one test, which is removed when it goes out of scope. */
export class TempDir implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync();

  /** The names that are in it. */
  get names(): string[] {
    return [...Deno.readDirSync(this.path)].map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
