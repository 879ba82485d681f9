/** Reads a document: its examples that bear a title (```yaml title=shop.yaml), its links, the commands that it names. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

export const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...['docs', 'docs/decisions'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${folder}/${name}`),
  ),
]

export const textOf = (document: string): string => readFileSync(join(root, document), 'utf8')

/** By file name. */
export function examplesOf(document: string): ReadonlyMap<string, string> {
  const fences = textOf(document).matchAll(/^```\w+ title=(\S+)\n([\s\S]*?)^```$/gm)
  return new Map([...fences].map(([, name, text]) => [name!, text!]))
}

/** Writes the examples beside each other, as the document says they lie. */
export function writeExamples(document: string): { readonly folder: string; readonly names: readonly string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-docs-'))
  mkdirSync(folder, { recursive: true })
  const examples = examplesOf(document)
  for (const [name, text] of examples) writeFileSync(join(folder, name), text)
  return { folder, names: [...examples.keys()] }
}

/** Targets of links to files here, without their anchors. */
export function linksOf(document: string): readonly string[] {
  return [...textOf(document).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!.replace(/#.*$/, ''))
    .filter((target) => target !== '' && !/^[a-z]+:/.test(target))
}

/** Lines of shell fences and inline code. */
function code(document: string): readonly string[] {
  const text = textOf(document)
  const fences = [...text.matchAll(/^```(?:sh)?\n([\s\S]*?)^```$/gm)].flatMap(([, body]) => body!.split('\n'))
  const inline = [...text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`\n]+)`/g)].map(([, body]) => body!)
  return [...fences, ...inline].map((line) => line.replace(/\s+#.*$/, '').trim())
}

/** Scripts of package.json that are called: `npm start`, `npm run bench`. */
export function scriptsOf(document: string): readonly string[] {
  return code(document).flatMap((line) => {
    const match = /^npm (?:run )?(?:--silent |run )?([\w:]+)/.exec(line)
    return match === null ? [] : [match[1]!]
  })
}

export interface TroupeCall {
  readonly command: string
  readonly flags: readonly string[]
}

/** Calls of the command line: `troupe run FILE --for 20s`, also by `npm run troupe --`. */
export function callsOf(document: string): readonly TroupeCall[] {
  return code(document).flatMap((line) => {
    const match = /^(?:\w+=\S+ )*(?:npm run (?:--silent )?troupe -- |troupe )(.*)$/.exec(line)
    if (match === null) return []
    const words = match[1]!.split(' ')
    const command = words.find((word) => /^[a-z][a-z-]*$/.test(word))
    const flags = words.filter((word) => word.startsWith('--'))
    return command === undefined ? [] : [{ command, flags }]
  })
}
