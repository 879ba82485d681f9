/** Names of streams, keys and files that are made from an item: `orders:{entity}:{key}`. */
import { TroupeError } from '../world/error.js'
import type { SinkItem } from './sink.js'

const placeholders = ['source', 'namespace', 'entity', 'key', 'operation', 'partition'] as const
type Placeholder = (typeof placeholders)[number]

export interface NameTemplate {
  /** The name, where it is the same for every item of this writer. */
  readonly constant: string | null
  /** Whether `{key}` is in it. */
  readonly byKey: boolean
  /** `as`: what each placeholder's text becomes. */
  name(item: SinkItem, as?: (text: string) => string): string
}

/** @throws TroupeError `unknown-placeholder` */
export function nameTemplate(text: string, partition: number, place: string): NameTemplate {
  const parts: (string | Placeholder)[] = []
  const isPlaceholder: boolean[] = []
  for (const piece of text.split(/(\{[^{}]*\})/)) {
    if (piece === '') continue
    const word = /^\{([^{}]*)\}$/.exec(piece)?.[1]
    if (word === 'partition') parts.push(String(partition))
    else if (word !== undefined && !placeholders.includes(word as Placeholder))
      throw new TroupeError({
        code: 'unknown-placeholder',
        message: `'{${word}}' in '${text}' stands for nothing`,
        place,
        remedy: `use ${placeholders.map((one) => `{${one}}`).join(' ')}`,
        exitCode: 2,
        permanent: true,
      })
    else parts.push(word ?? piece)
    isPlaceholder.push(word !== undefined && word !== 'partition')
  }
  const constant = isPlaceholder.includes(true) ? null : parts.join('')
  return {
    constant,
    byKey: parts.some((part, index) => isPlaceholder[index] && part === 'key'),
    name(item, as = (text) => text) {
      if (constant !== null) return constant
      let name = ''
      for (let index = 0; index < parts.length; index++)
        name += isPlaceholder[index] ? as(fill(item, parts[index] as Placeholder)) : parts[index]!
      return name
    },
  }
}

function fill(item: SinkItem, placeholder: Placeholder): string {
  const event = item.type === 'record' ? item.event : item
  switch (placeholder) {
    case 'source':
      return event.source.name
    case 'namespace':
      return event.namespace
    case 'entity':
      return item.entity
    case 'key':
      return item.type === 'record' ? item.key : item.keyText
    case 'operation':
      return item.operation
    case 'partition':
      return ''
  }
}
