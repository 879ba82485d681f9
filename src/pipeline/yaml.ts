/**
 * A YAML file as a value whose every part knows its line: parsed, its `${ENV}` filled in, its own errors collected.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, visit } from 'yaml'
import { type Environment, interpolate } from './interpolate.js'
import type { Origin, Path, Problem } from './problem.js'

export interface YamlText {
  readonly value: unknown
  readonly origin: Origin
  readonly problems: readonly Problem[]
  /** Places whose value could not be filled in: the schema's complaints about them mean nothing. */
  readonly unfilled: readonly Path[]
}

/** Errors of syntax leave `value` undefined. */
export function readYaml(text: string, label: string, env: Environment): YamlText {
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  const document = Array.isArray(documents) ? documents[0] : undefined
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${line}:${col}`
  }
  const problems: Problem[] = []
  if (document === undefined || document.contents === null)
    return broken(label, [{ code: 'empty-pipeline', path: [], at: 'value', message: 'the file holds no pipeline' }])
  if (documents.length > 1)
    return broken(label, [{ code: 'yaml-syntax', path: [], at: 'value', message: 'one file holds one document' }])
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0)
    return broken(
      label,
      firstOfEachLine(faults, lines).map((fault) => ({
        code: fault.code === 'DUPLICATE_KEY' ? 'duplicate-key' : 'yaml-syntax',
        path: [],
        at: 'key',
        position: place(fault.pos[0]),
        message: fault.code === 'DUPLICATE_KEY' ? 'a key is given twice in one mapping' : fault.message,
        ...(text.includes('${') ? { remedy: inFlow } : {}),
      })),
    )

  const sources = new Map<Node, string>()
  const failures: { readonly node: Node; readonly problem: Omit<Problem, 'path' | 'at'> }[] = []
  visit(document, {
    Scalar(key, node) {
      if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('${')) return
      sources.set(node, node.value)
      const filled = interpolate(node.value, env)
      if (filled.ok) node.value = filled.text
      else failures.push({ node, problem: filled })
    },
  })
  const unfilled: Path[] = []
  for (const { node, problem } of failures) {
    const path = pathOf(document, node)
    unfilled.push(path)
    problems.push({ ...problem, path, at: 'value' })
  }
  const origin = originOf(document, label, place, sources)
  try {
    return { value: document.toJS({ maxAliasCount: 1_000 }), origin, problems, unfilled }
  } catch {
    return broken(label, [{ code: 'yaml-syntax', path: [], at: 'value', message: 'the aliases expand without end' }])
  }
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: the text is about them
const inFlow = 'inside { } and [ ] a ${NAME} needs quotes: "${NAME}"'

/** One fault of syntax draws others after it; the first of a line says enough. */
function firstOfEachLine<T extends { readonly pos: readonly [number, number] }>(
  faults: readonly T[],
  lines: LineCounter,
): T[] {
  const seen = new Set<number>()
  return faults.filter((fault) => {
    const { line } = lines.linePos(fault.pos[0])
    if (seen.has(line)) return false
    seen.add(line)
    return true
  })
}

function broken(label: string, problems: readonly Problem[]): YamlText {
  return { value: undefined, problems, unfilled: [], origin: { label, locate: () => '1:1', quote: () => null } }
}

function originOf(
  document: Document,
  label: string,
  place: (offset: number) => string,
  sources: ReadonlyMap<Node, string>,
): Origin {
  return {
    label,
    locate(path, at) {
      const offset = offsetOf(document, path, at)
      return offset === null ? null : place(offset)
    },
    quote(path) {
      const node = nodeAt(document, path)
      if (!isScalar(node)) return null
      return sources.get(node) ?? String(node.value)
    },
  }
}

function resolveAlias(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node
}

function nodeAt(document: Document, path: Path): unknown {
  let node: unknown = document.contents
  for (const part of path) {
    node = step(document, node, part)?.value
    if (node === undefined) return undefined
  }
  return resolveAlias(document, node)
}

function step(document: Document, from: unknown, part: string | number): { key: unknown; value: unknown } | undefined {
  const node = resolveAlias(document, from)
  if (isSeq(node)) return { key: node.items[Number(part)], value: node.items[Number(part)] }
  if (!isMap(node)) return undefined
  return node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(part))
}

function offsetOf(document: Document, path: Path, at: 'key' | 'value'): number | null {
  let node: unknown = document.contents
  let offset = startOf(node)
  for (const [depth, part] of path.entries()) {
    const pair = step(document, node, part)
    if (pair === undefined) return offset
    const key = startOf(pair.key)
    const value = startOf(pair.value)
    const last = depth === path.length - 1
    offset = (last && at === 'value' ? (value ?? key) : (key ?? value)) ?? offset
    node = pair.value
  }
  return offset
}

function startOf(node: unknown): number | null {
  const range = (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range
  return range?.[0] ?? null
}

function pathOf(document: Document, wanted: Node): Path {
  let found: Path = []
  const walk = (node: unknown, path: Path): boolean => {
    if (node === wanted) {
      found = path
      return true
    }
    if (isSeq(node)) return node.items.some((item, index) => walk(item, [...path, index]))
    if (isMap(node))
      return node.items.some((pair) =>
        walk(pair.value, [...path, String(isScalar(pair.key) ? pair.key.value : pair.key)]),
      )
    return false
  }
  walk(document.contents, [])
  return found
}
