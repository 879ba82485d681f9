/**
 * The two scripts of the fenced Redis sink. A script runs alone and is all or nothing in what it leaves on the disk and
 * at replicas (https://redis.io/docs/latest/develop/programmability/eval-intro/).
 *
 * The fence key is a hash: `term` and `writer` (who owns the partition), `lanes` (the checkpoint, JSON), `partitions` (the
 * layout that the checkpoint belongs to).
 */
import { createHash } from 'node:crypto'

export interface Script {
  readonly text: string
  readonly sha: string
}

/**
 * KEYS: the fence. ARGV: the least term, the writer, the number of partitions.
 *
 * The term is above every stored one and not below the clock's seconds: after Redis has lost its newest writes no number
 * is given twice.
 */
export const seal: Script = script(`
local known = redis.call('HMGET', KEYS[1], 'term', 'lanes', 'partitions')
local term = math.max((tonumber(known[1]) or 0) + 1, tonumber(ARGV[1]))
local lanes = known[2]
if lanes and known[3] ~= ARGV[3] then
  redis.call('HDEL', KEYS[1], 'lanes')
  lanes = false
end
redis.call('HSET', KEYS[1], 'term', string.format('%.0f', term), 'writer', ARGV[2], 'partitions', ARGV[3])
return { string.format('%.0f', term), lanes, known[3] }
`)

/**
 * KEYS: the fence. ARGV: term, writer, checkpoint, and then the commands, each behind the number of its arguments.
 *
 * First every command is judged by the types of the keys as they will be when its turn comes; one that would be refused
 * makes the reply \`{ 'refused', its number, … }\` and nothing is done. What can fail beyond that: before the first write
 * the error is the reply and nothing is done (Redis refuses for its own state, such as OOM or READONLY, only until a
 * script has written). After it, the command's number and error are in the reply, and the rest counts.
 */
export const commit: Script = script(`
local known = redis.call('HMGET', KEYS[1], 'term', 'writer')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then
  return redis.error_reply('FENCED term ' .. (known[1] or 'none'))
end
local last = #ARGV
local types, refused, at, number = {}, {}, 4, 0
while at <= last do
  local verb, key = ARGV[at + 1], ARGV[at + 2]
  number = number + 1
  if verb == 'DEL' then
    types[key] = 'none'
  elseif verb == 'SET' then
    types[key] = 'string'
  else
    local wanted = verb == 'XADD' and 'stream' or 'hash'
    local is = types[key]
    if not is then
      is = redis.call('TYPE', key).ok
      types[key] = is
    end
    if is == 'none' then
      if verb ~= 'HDEL' then types[key] = wanted end
    elseif is ~= wanted then
      refused[#refused + 1] = number
    end
  end
  at = at + tonumber(ARGV[at]) + 1
end
if #refused > 0 then return { 'refused', refused } end
local failed, wrote = {}, false
at, number = 4, 0
while at <= last do
  local count = tonumber(ARGV[at])
  number = number + 1
  local reply = redis.pcall(unpack(ARGV, at + 1, at + count))
  if type(reply) == 'table' and reply.err then
    if not wrote then return reply end
    failed[#failed + 1] = number
    failed[#failed + 1] = reply.err
  else
    wrote = true
  end
  at = at + count + 1
end
redis.call('HSET', KEYS[1], 'lanes', ARGV[3])
return { 'committed', failed }
`)

/** Arguments of one command in a script: Lua takes 8,000 values on its stack (LUAI_MAXCSTACK). */
export const maxArguments = 7_000

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}
