/**
 * The checks before anything is started: each failure is one error with its remedy. Makes the publication where the
 * configuration allows it; the slot is made by the reader, which alone knows whether it ever had one.
 */
import type pg from 'pg'
import { TroupeError } from '../../world/error.js'
import type { SourceContext } from '../source.js'
import { openReplication, serverLabel, withCatalog } from './connection.js'
import type { PostgresSourceDefinition } from './definition.js'
import { walLevel } from './errors.js'
import { openPublication } from './publication.js'
import { readSlot, slotNotThere } from './slot.js'

/** Logical decoding messages and everything else that is asked for here came with 14. */
const oldestVersion = 140_000

export async function preflight(
  config: PostgresSourceDefinition,
  context: Pick<SourceContext, 'world' | 'log' | 'pipeline' | 'name'>,
): Promise<void> {
  const place = `source ${context.name}`
  await withCatalog(config, place, async (client) => {
    await checkServer(client, config, place)
    await checkRole(client, config, place)
    await openPublication(client, config, context.log, place)
    await checkSlot(client, config, place)
  })
  // A replication connection has its own line in pg_hba.conf and its own limit.
  const replication = await openReplication(config, place, `troupe:${context.pipeline}:preflight`, context.world)
  await replication.end()
}

async function setting(client: pg.Client, name: string): Promise<string> {
  const { rows } = await client.query<{ value: string }>('SELECT current_setting($1) AS value', [name])
  return rows[0]!.value
}

async function checkServer(client: pg.Client, config: PostgresSourceDefinition, place: string): Promise<void> {
  const version = await setting(client, 'server_version_num')
  if (Number(version) < oldestVersion)
    throw new TroupeError({
      code: 'postgres-too-old',
      message: `PostgreSQL at ${serverLabel(config)} is of version ${version}; 14 or newer is needed`,
      place,
      remedy: 'upgrade the server',
      exitCode: 2,
      permanent: true,
    })
  const level = await setting(client, 'wal_level')
  if (level !== 'logical')
    throw new TroupeError({
      code: walLevel.code,
      message: `PostgreSQL at ${serverLabel(config)} runs with wal_level = ${level}; logical decoding needs logical`,
      place,
      remedy: walLevel.remedy,
      exitCode: 2,
      permanent: true,
    })
}

async function checkRole(client: pg.Client, config: PostgresSourceDefinition, place: string): Promise<void> {
  const { rows } = await client.query<{ role: string; able: boolean }>(
    'SELECT rolname AS role, rolreplication OR rolsuper AS able FROM pg_roles WHERE rolname = current_user',
  )
  const role = rows[0]
  if (role === undefined || role.able) return
  throw new TroupeError({
    code: 'postgres-privileges',
    message: `the role ${role.role} at ${serverLabel(config)} may not replicate`,
    place,
    remedy: `ALTER ROLE "${role.role}" REPLICATION; (on managed services: grant the service's replication role)`,
    exitCode: 2,
    permanent: true,
  })
}

async function checkSlot(client: pg.Client, config: PostgresSourceDefinition, place: string): Promise<void> {
  if ((await readSlot(client, config.slot)) !== null) return
  if (config.createSlot === 'never') throw slotNotThere(config, place)
  const { rows } = await client.query<{ used: number }>('SELECT count(*)::int AS used FROM pg_replication_slots')
  const most = Number(await setting(client, 'max_replication_slots'))
  if (rows[0]!.used < most) return
  throw new TroupeError({
    code: 'no-free-slot',
    message: `all ${most} replication slots of ${serverLabel(config)} are in use, and ${config.slot} is not there yet`,
    place,
    remedy:
      'drop a slot that nobody uses (SELECT pg_drop_replication_slot(…)) or raise max_replication_slots and restart PostgreSQL',
    exitCode: 2,
    permanent: true,
  })
}
