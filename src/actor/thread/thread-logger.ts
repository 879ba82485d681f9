/** A thread's logger: its records go to the host's. Errors in the fields are made plain, for a clone would lose them. */
import type { Logger } from '../../world/logger.js'
import { encodeError } from '../failure.js'
import type { Uplink } from './uplink.js'

export function threadLogger(uplink: () => Uplink | undefined): Logger {
  return {
    debug: (fields, message) => uplink()?.log('debug', plain(fields), message),
    info: (fields, message) => uplink()?.log('info', plain(fields), message),
    warn: (fields, message) => uplink()?.log('warn', plain(fields), message),
    error: (fields, message) => uplink()?.log('error', plain(fields), message),
  }
}

function plain(fields: object): object {
  const copy: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === 'function' || typeof value === 'symbol') continue
    copy[key] = value instanceof Error ? encodeError(value) : value
  }
  return copy
}
