/** Installs the peers (bench/peers, its own lock file, no scripts) when a benchmark first needs them. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The sources' bench/peers, seen from dist/bench/harness. */
export const peersFolder = fileURLToPath(new URL('../../../bench/peers/', import.meta.url))

/** @returns why there are no peers, or null */
export function installPeers(progress: (line: string) => void): string | null {
  if (existsSync(join(peersFolder, 'node_modules', '.package-lock.json'))) return null
  progress('installing the peers (bench/peers)')
  try {
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit'], { cwd: peersFolder, stdio: 'pipe' })
    return null
  } catch (error) {
    const detail = (error as { stderr?: Buffer }).stderr?.toString().trim().split('\n').at(-1) ?? ''
    return `the peers could not be installed: ${detail}`
  }
}

export function peer(name: string): string {
  return join(peersFolder, `${name}.mjs`)
}
