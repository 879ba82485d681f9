/** Subjects of NATS that are made from a template, and whether a stream takes them. */
import type { NameTemplate } from './name-template.js'
import type { SinkItem } from './sink.js'

/** What a subject's token cannot hold, and the sign that stands for it. */
const unsafe = /[\s.*>%\u0000-\u001f\u007f]/g

/**
 * A name as one token of a subject: dots, wildcards, blanks and `%` as `%2E` and so on, so that no key and no table can
 * write elsewhere.
 */
export function subjectToken(text: string): string {
  if (text === '') return '%'
  return text.replace(unsafe, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

export function subjectOf(template: NameTemplate, item: SinkItem): string {
  return template.constant ?? template.name(item, subjectToken)
}

/** Everything that a template may become, as a subject with wildcards. */
export function patternOf(text: string): string {
  return text
    .split('.')
    .map((token) =>
      /\{[^{}]*\}/.test(token.replaceAll('{partition}', '0')) ? '*' : token.replaceAll('{partition}', '0'),
    )
    .join('.')
}

/** Whether each subject of `pattern` is one of `filter`. */
export function covers(filter: string, pattern: string): boolean {
  const wanted = pattern.split('.')
  const offered = filter.split('.')
  for (const [index, token] of offered.entries()) {
    if (token === '>') return wanted.length > index
    const other = wanted[index]
    if (other === undefined) return false
    if (token !== '*' && token !== other) return false
  }
  return offered.length === wanted.length
}

/** 1 to 200 visible characters without wildcards; no empty token. */
export function isSubject(text: string): boolean {
  return (
    text.length <= 200 && text.split('.').every((token) => token !== '' && !/[\s*>\u0000-\u001f\u007f]/.test(token))
  )
}
