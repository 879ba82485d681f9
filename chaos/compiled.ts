import { fileURLToPath } from 'node:url'

/**
 * The file to give to a child process: the compiled one, also when the caller runs from source (under vitest).
 * Child processes and threads never load TypeScript.
 */
export function compiled(url: URL): string {
  const path = fileURLToPath(url)
  const root = fileURLToPath(new URL('../', import.meta.url))
  const isCompiled = /[\\/]dist[\\/]$/.test(root)
  return isCompiled ? path : path.replace(root, `${root}dist/`)
}
