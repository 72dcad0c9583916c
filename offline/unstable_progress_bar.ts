/**
 * A stand-in for what is used here of `@std/cli/unstable-progress-bar`: a line on
 * stderr that is written anew once a second.
 */

/** What a bar shows. */
export interface ProgressBarFormatter {
  styledTime: string;
  progressBar: string;
  value: number;
  max: number;
}

/** The options that are used here. */
export interface ProgressBarOptions {
  max: number;
  value?: number;
  clear?: boolean;
  formatter?: (formatter: ProgressBarFormatter) => string;
}

const LENGTH = 50;
const ERASE_LINE = "\r\x1b[K";

/** A bar on stderr, until it is stopped. */
export class ProgressBar {
  value: number;
  max: number;
  readonly #options: ProgressBarOptions;
  readonly #start = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: ProgressBarOptions) {
    this.value = options.value ?? 0;
    this.max = options.max;
    this.#options = options;
    this.#timer = setInterval(() => this.#print(), 1000);
    this.#print();
  }

  #print(): void {
    const { value, max } = this;
    const seconds = Math.floor((Date.now() - this.#start) / 1000);
    const styledTime = [Math.floor(seconds / 60), seconds % 60]
      .map((part) => String(part).padStart(2, "0")).join(":");
    const progressBar = "#"
      .repeat(Math.max(0, Math.min(LENGTH, Math.trunc(value / max * LENGTH))))
      .padEnd(LENGTH, "-");
    const format = this.#options.formatter ??
      (() => `[${styledTime}] [${progressBar}] [${value}/${max}]`);
    write(ERASE_LINE + format({ styledTime, progressBar, value, max }));
  }

  /** Ends the bar, and leaves it or not. */
  stop(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#options.clear) write(ERASE_LINE);
    else {
      this.#print();
      write("\n");
    }
    return Promise.resolve();
  }
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}
