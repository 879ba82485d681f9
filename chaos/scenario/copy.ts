import { cpSync } from 'node:fs'

/** Copies a data directory that nobody writes at this moment, without the sockets by which a process claims it. */
export function copyData(from: string, to: string): void {
  cpSync(from, to, { recursive: true, filter: (path) => !path.endsWith('.sock') })
}
