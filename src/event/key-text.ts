/** The key of an event as one string, for sinks and logs. */
import type { Row } from './event.js'

/** One part stands as it is, NULL as ''. Several are joined by `:`; inside a part `\` and `:` are escaped by `\`, and NULL is `\N`. */
export function keyTextOf(key: Row | null, names: readonly string[] = key?.columns ?? []): string {
  if (key === null) return ''
  if (names.length === 1) return key.text(names[0]!) ?? ''
  return names
    .map((name) => {
      const text = key.text(name)
      return text === null || text === undefined ? '\\N' : text.replace(/[\\:]/g, '\\$&')
    })
    .join(':')
}
