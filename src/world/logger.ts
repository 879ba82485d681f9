/** What a room needs of a logger; pino satisfies it. Fields come first, as in pino. Never log secrets or event contents. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
