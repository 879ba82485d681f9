import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { callsOf, documents, linksOf, root, scriptsOf, textOf } from './document.js'

const exec = promisify(execFile)
const cli = join(root, 'dist/src/cli/main.js')
const scripts = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts as Record<string, string>
const npmItself = new Set(['install', 'ci'])

/** Planned commands: decisions may name them, README and guides may not. */
const planned = new Set(['top', 'dead-letters', 'snapshot'])

async function help(...args: string[]): Promise<string> {
  const { stdout } = await exec(process.execPath, [cli, ...args, '--help'])
  return stdout
}

describe.each(documents)('%s', (document) => {
  test('links to files that are there', () => {
    const here = dirname(join(root, document))
    expect(linksOf(document).filter((target) => !existsSync(join(here, target)))).toEqual([])
  })

  test('names scripts that package.json has', () => {
    const missing = scriptsOf(document).filter((name) => !(name in scripts) && !npmItself.has(name))
    expect(missing).toEqual([])
  })
})

test('every command and flag in the documents is in the command line', async () => {
  const calls = documents.flatMap((document) => callsOf(document).map((call) => ({ ...call, document })))
  expect(calls.length).toBeGreaterThan(20)
  const top = await help()
  const helps = new Map<string, string>()
  for (const { document, command, flags } of calls) {
    if (planned.has(command)) expect(document).toMatch(/^docs\/decisions\//)
    else {
      expect(top, `${document}: troupe ${command}`).toMatch(new RegExp(`^  ${command}\\b`, 'm'))
      const known = helps.get(command) ?? (await help(command))
      helps.set(command, known)
      const general = ['--help', '--version', '--verbose']
      for (const flag of flags.filter((flag) => !general.includes(flag)))
        expect(known, `${document}: troupe ${command} ${flag}`).toContain(flag)
    }
  }
}, 180_000)

test('every error code is documented', () => {
  const text = documents.map(textOf).join('\n')
  const missing = errorCodes().filter(({ code }) => !text.includes(`\`${code}\``))
  expect(missing).toEqual([])
})

test('every code in a table of errors is one that the source has', () => {
  const codes = documents.flatMap((document) => codesOf(document).map((code) => ({ code, document })))
  expect(new Set(codes.map(({ document }) => document)).size).toBeGreaterThan(8)
  expect(codes.length).toBeGreaterThan(100)
  const source = sources()
    .map(({ text }) => text)
    .join('\n')
  expect(codes.filter(({ code }) => !source.includes(`'${code}'`))).toEqual([])
})

/** Of the first column of each table whose first column is `code`. */
function codesOf(document: string): readonly string[] {
  const tables = textOf(document).matchAll(/^\| code +\|.*\n((?:\|.*\n)+)/gm)
  return [...tables].flatMap(([, rows]) =>
    rows!
      .split('\n')
      .flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([a-z-]+)`/g)].map(([, code]) => code!)),
  )
}

function sources(): { readonly path: string; readonly text: string }[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path, text: readFileSync(join(root, 'src', path), 'utf8') }))
}

/**
 * Where an error is made, or handed to a function that makes it: one whose first parameter is `code`. `custom` is how the
 * schema library names issues of our own; their codes are in `params`.
 */
function errorCodes(): { readonly code: string; readonly path: string }[] {
  const all = sources()
  const makers = all.flatMap(({ text }) =>
    [...text.matchAll(/\b(?:function|const) (\w+)(?: = )?\(code: /g)].map(([, name]) => name!),
  )
  expect(makers).toEqual(expect.arrayContaining(['refuse', 'frameError', 'endedEarly']))
  const made = new RegExp(`(?:\\bcode: |\\b(?:${makers.join('|')})\\(\\s*)'([a-z]+(?:-[a-z]+)*)'`, 'g')
  return all.flatMap(({ path, text }) =>
    [...text.matchAll(made)].map(([, code]) => ({ code: code!, path })).filter(({ code }) => code !== 'custom'),
  )
}
