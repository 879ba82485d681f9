/** Certificates and passwords for one test file, made as docs/cluster.md says: by cluster/prepare.sh. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Secrets {
  readonly folder: string
  readonly ca: string
  readonly cert: string
  readonly key: string
  /** The variables of `nats-1.env`. */
  readonly environment: Readonly<Record<string, string>>
  password(user: 'admin' | 'shop' | 'operator' | 'sys'): string
  remove(): void
}

export function makeSecrets(): Secrets {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-secrets-'))
  execFileSync('sh', ['cluster/prepare.sh', folder], { stdio: 'ignore' })
  const environment = readEnvironment(join(folder, 'nats-1.env'))
  return {
    folder,
    ca: join(folder, 'ca.pem'),
    cert: join(folder, 'nats-1.pem'),
    key: join(folder, 'nats-1.key'),
    environment,
    password: (user) => environment[`NATS_${user.toUpperCase()}_PASSWORD`]!,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export function readEnvironment(file: string): Record<string, string> {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]))
}
