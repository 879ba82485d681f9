/** Which events a processor wants: by namespace, entity and operation. Empty lists mean all; names may hold `*`. */
import type { Operation } from '../event/event.js'

export interface Filter {
  readonly namespaces: readonly string[]
  readonly entities: readonly string[]
  readonly operations: readonly Operation[]
}

export interface Matcher {
  /** False where no operation of this table is wanted. */
  table(namespace: string, entity: string): boolean
  operation(operation: Operation): boolean
  /** True where everything is wanted: nothing needs to be asked. */
  readonly open: boolean
}

/** Answers are remembered by table, up to this many tables. */
const remembered = 4096

export function createMatcher(filter: Filter): Matcher {
  const namespaces = filter.namespaces.map(globToRegExp)
  const entities = filter.entities.map(globToRegExp)
  const operations = new Set<Operation>(filter.operations)
  const answers = new Map<string, boolean>()
  return {
    open: namespaces.length === 0 && entities.length === 0 && operations.size === 0,
    table(namespace, entity) {
      const key = `${namespace}\0${entity}`
      const known = answers.get(key)
      if (known !== undefined) return known
      const answer = matches(namespaces, namespace) && matches(entities, entity)
      if (answers.size >= remembered) answers.clear()
      answers.set(key, answer)
      return answer
    },
    operation: (operation) => operations.size === 0 || operations.has(operation),
  }
}

function matches(patterns: readonly RegExp[], name: string): boolean {
  return patterns.length === 0 || patterns.some((pattern) => pattern.test(name))
}

function globToRegExp(glob: string): RegExp {
  return new RegExp(`^${glob.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`)
}
