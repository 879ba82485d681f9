/** Times of events as text. */

/** All rows of a transaction have one time: the last text is kept. */
let lastMicros = Number.NaN
let lastText = ''

/** Microseconds since the Unix epoch as UTC, ISO 8601 with six digits: `2026-11-22T06:16:57.123456Z`. */
export function isoMicros(micros: number): string {
  if (micros === lastMicros) return lastText
  const millis = Math.floor(micros / 1000)
  const rest = Math.floor(micros - millis * 1000)
  lastText = `${new Date(millis).toISOString().slice(0, -1)}${String(rest).padStart(3, '0')}Z`
  lastMicros = micros
  return lastText
}

/** Milliseconds since the Unix epoch, as a source gives them that knows no more. */
export function isoMillis(micros: number): string {
  return new Date(Math.floor(micros / 1000)).toISOString()
}

/** The range in which `isoMicros` works. */
export function isTime(micros: number): boolean {
  return Math.abs(micros) <= 8.64e18
}
