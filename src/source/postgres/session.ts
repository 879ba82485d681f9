/**
 * Gets hold of the slot: START_REPLICATION, again and again for a while where a predecessor of ours still holds it.
 *
 * A reader that died leaves a walsender that the server notices late (wal_sender_timeout); a successor ends it by
 * its name and term. A slot that another program or a newer term of this reader holds is not taken: `slot-in-use`.
 */

import type { CopyBoth, CopyBothHandlers, ReplicationConnection } from '../../wire/copyboth.js'
import { sleep } from '../../world/sleep.js'
import type { SourceContext } from '../source.js'
import { openReplication, readerName, readerNamePrefix, serverLabel, withCatalog } from './connection.js'
import type { PostgresSourceDefinition } from './definition.js'
import { readable } from './errors.js'
import { quoteName, quoteText } from './identifiers.js'
import { formatLsn } from './lsn.js'
import { endHolder, slotHolder, slotInUse } from './slot.js'

/** ms that a reader tries to get a slot that is in use. */
const takeoverDeadline = 15_000
const attemptEvery = 100

export function connectReader(
  config: PostgresSourceDefinition,
  context: SourceContext,
  place: string,
): Promise<ReplicationConnection> {
  const name = readerName(context.pipeline, context.name, context.term)
  return openReplication(config, place, name, context.world)
}

/** @param first a connection on which nothing was started yet */
export async function startStream(
  config: PostgresSourceDefinition,
  context: SourceContext,
  place: string,
  first: ReplicationConnection,
  from: bigint,
  handlers: CopyBothHandlers,
): Promise<CopyBoth> {
  const { world } = context
  const until = world.monotonic() + takeoverDeadline
  const command = startCommand(config, from)
  const prefix = readerNamePrefix(context.pipeline, context.name)
  for (let connection = first; ; connection = await connectReader(config, context, place)) {
    try {
      return await connection.start(command, handlers)
    } catch (error) {
      const known = readable(error, { place, server: serverLabel(config) })
      if (known.code !== 'slot-in-use') throw known
      const holder = await withCatalog(config, place, async (client) => {
        const found = await slotHolder(client, config.slot, prefix, context.term)
        if (found?.is === 'older' || found?.is === 'same') await endHolder(client, found)
        return found
      })
      if (holder?.is === 'newer' || world.monotonic() >= until)
        throw slotInUse(config, serverLabel(config), holder, place)
    }
    await sleep(world, attemptEvery)
  }
}

function startCommand(config: PostgresSourceDefinition, from: bigint): string {
  const publications = quoteText(quoteName(config.publication))
  return `START_REPLICATION SLOT ${quoteName(config.slot)} LOGICAL ${formatLsn(from)} (proto_version '1', publication_names ${publications}, messages 'true')`
}
