/** When a failed event is tried again. */
import type { RetryDefinition } from './definition.js'

/**
 * ms to wait before the next attempt; null where `maxElapsed` would be passed.
 * @param attempt how often it has failed, from 1
 * @param elapsedMs since its first failure
 * @param chance in [0, 1), for the jitter
 */
export function retryDelay(retry: RetryDefinition, attempt: number, elapsedMs: number, chance: number): number | null {
  const plain = Math.min(retry.max, retry.initial * 2 ** Math.min(attempt - 1, 30))
  const delay = plain * (1 - retry.jitter + 2 * retry.jitter * chance)
  return elapsedMs + delay > retry.maxElapsed ? null : delay
}
