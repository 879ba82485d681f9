/** Draws lines over the lines drawn before, on a terminal; on anything else prints a line now and then. */
import { frame, line, type Sample } from './view.js'

export interface Screen {
  show(sample: Sample): void
  /** Leaves what is shown and goes on below it. */
  end(): void
}

const lineEveryMs = 2_000

export function createScreen(out: NodeJS.WriteStream, forMs: number): Screen {
  let before: Sample | null = null
  let drawn = 0
  if (out.isTTY)
    return {
      show(sample) {
        const lines = frame(before, sample, forMs).map((text) => text.slice(0, (out.columns ?? 100) - 1))
        // Up to the first line, then over each line and what is left of it.
        out.write(`${drawn > 0 ? `\x1b[${drawn}A` : ''}${lines.map((text) => `\x1b[2K${text}\n`).join('')}\x1b[J`)
        drawn = lines.length
        before = sample
      },
      end() {
        drawn = 0
      },
    }
  return {
    show(sample) {
      if (before !== null && sample.atMs - before.atMs < lineEveryMs) return
      out.write(`${line(before, sample)}\n`)
      before = sample
    },
    end() {},
  }
}
