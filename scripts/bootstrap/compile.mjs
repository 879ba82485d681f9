// Compiles the tree to dist/ when a source is newer than the last build, or when one came or went.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fail, root, run, timed } from './ground.mjs'

const folders = ['src', 'chaos', 'bench', 'examples', 'test']
const stampFile = join(root, 'dist', '.built.json')
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

export async function compile() {
  const sources = folders.flatMap((folder) => [...files(join(root, folder))])
  const names = sources.map((path) => relative(root, path)).sort()
  const newest = Math.max(
    ...[...sources, ...['tsconfig.json', 'package-lock.json'].map((name) => join(root, name))].map(changed),
  )
  const built = readStamp()
  if (built !== undefined && built.newest === newest && built.names.join() === names.join()) return
  // What has no source any more must not go on being imported.
  for (const name of built?.names ?? []) if (!names.includes(name)) forget(name)
  const code = await timed('compiling', () =>
    run(process.execPath, [tsc, '-p', 'tsconfig.json', '--noCheck'], { output: 'stderr' }),
  )
  if (code !== 0) fail({ place: root, cause: `the compiler ended with ${code}`, remedy: 'correct what it names above' })
  mkdirSync(join(root, 'dist'), { recursive: true })
  // For editors; the package exports it.
  const schema = execFileSync(process.execPath, [join(root, 'dist/src/cli/main.js'), 'validate', '--schema'])
  writeFileSync(join(root, 'dist', 'pipeline.schema.json'), schema)
  writeFileSync(stampFile, JSON.stringify({ newest, names }))
}

function readStamp() {
  return existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')) : undefined
}

function forget(name) {
  const output = join(root, 'dist', name.replace(/\.ts$/, ''))
  for (const ending of ['.js', '.js.map', '.d.ts']) rmSync(output + ending, { force: true })
}

function changed(path) {
  return statSync(path).mtimeMs
}

function* files(folder) {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules') yield* files(path)
    } else if (entry.name.endsWith('.ts')) yield path
  }
}
