import type { Logger } from '../../../src/world/logger.js'

const ignore = (): void => {}

/** What the protocols log is for people; the simulation looks at what they do. */
export const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }
