/** The configuration of a PostgreSQL source, checked and complete. */
export interface PostgresSourceDefinition {
  readonly kind: 'postgres'
  /** `postgres://user:password@host:port/database?sslmode=…` or a unix socket in `host`. */
  readonly url: string
  readonly publication: string
  /** `if-missing` creates the publication for `tables`; `never` refuses a missing one. Default `if-missing` when `tables` is given. */
  readonly createPublication: 'if-missing' | 'never'
  /** `schema.table`, for a publication that Troupe creates and for preflight. */
  readonly tables: readonly string[]
  readonly slot: string
  readonly createSlot: 'if-missing' | 'never'
  /** What to do when the slot is ahead of our checkpoint (events that we never saw are gone): `stop` (default) or `report` a loss window and go on. */
  readonly onGap: 'stop' | 'report'
  readonly placement: 'inline' | 'thread'
}
