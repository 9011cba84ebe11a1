// `checkContract()`: what a new AsyncAPI document breaks for the clients of an old one.
import { gapsBetween } from './contained.ts'
import { entriesOf, isFields, itemsOf, member, sameJson, step } from './fields.ts'
import { type ContractFinding, Findings } from './findings.ts'
import { jsonText, type Side, say } from './gaps.ts'
import { type Located, valueAt } from './located.ts'
import { isJsonSchema } from './schema-walk.ts'
import { serverFindings } from './servers.ts'
import { ITEM } from './stream-envelopes.ts'

/**
 * Compares two AsyncAPI 3 documents, and returns what may fail for clients that know the old one.
 * The documents of `asyncapi()` are judged completely; others as far as they have JSON Schemas.
 *
 * A client may send fewer forms than before, or must send more: breaking. The server may send other
 * forms than before, or sends less: breaking. New types, new optional fields, new servers and new
 * ways to authenticate are compatible.
 *
 * Each side is taken to send only the fields that its schema names, unless the schema sets
 * `additionalProperties`.
 *
 * @example
 * ```js
 * import { protocol } from 'koaws'
 * import { asyncapi, checkContract } from 'koaws/asyncapi'
 * import { z } from 'zod'
 *
 * const options = { info: { title: 'Chat', version: '1.0.0' } }
 * const text = z.string()
 * const before = asyncapi(protocol({ say: { data: z.object({ text }) } }), options)
 * const after = asyncapi(protocol({ say: { data: z.object({ text, room: text }) } }), options)
 * for (const { message, pointer } of checkContract(before, after)) {
 *   console.log(message) // Clients must now send the field "room".
 *   console.log(pointer) // /components/schemas/say.data
 * }
 * ```
 *
 * @param before the old document, as parsed JSON
 * @param after the new document
 * @returns the findings in the order of the old document; empty if clients keep working
 * @throws TypeError if a value is not an AsyncAPI 3 document
 */
export function checkContract(before: unknown, after: unknown): ContractFinding[] {
  for (const [name, one] of [
    ['old', before],
    ['new', after],
  ] as const) {
    const version = member(one, 'asyncapi')
    if (typeof version !== 'string' || !/^3\.\d+\./.test(version)) {
      throw new TypeError(
        `The ${name} document is not AsyncAPI 3: its field "asyncapi" is ${jsonText(version)}.`,
      )
    }
  }
  const findings = new Findings()
  serverFindings(before, after, findings)
  const known = operationsOf(after)
  for (const old of operationsOf(before)) {
    if (STREAM_PARTS.has(old.type)) continue // they come and go with the types that have items
    const same = known.filter(({ type }) => type === old.type)
    const now = same.find(({ action }) => action === old.action)
    if (now) compareOperations(old, now, findings)
    else if (same[0]) {
      const message = `The message changed its direction: clients ${old.action === 'receive' ? 'sent it, and receive it now' : 'received it, and send it now'}.`
      findings.add(message, same[0].at, old.type)
    } else {
      const message =
        old.action === 'receive'
          ? 'The type was removed: the server no longer accepts it.'
          : 'The type was removed: the server no longer sends it.'
      findings.add(message, old.at, old.type)
    }
  }
  return findings.list
}

const STREAM_PARTS: ReadonlySet<string> = new Set(['koaws:credit', 'koaws:end', 'koaws:cancel'])

/** An operation of a document. */
interface Operation {
  /** The type of its first message. */
  readonly type: string
  readonly action: unknown
  readonly at: string
  readonly channel: Channel | null
  readonly messages: readonly Message[]
  /** The messages of the answer; null if it is not answered. */
  readonly reply: readonly Message[] | null
}

interface Channel {
  readonly at: string
  readonly value: unknown
  readonly root: unknown
}

interface Message {
  readonly type: string
  readonly at: string
  readonly contentType: unknown
  readonly payload: Located | null
}

/** Returns the operations as the server sees them: a client receives the welcome. */
function operationsOf(root: unknown): Operation[] {
  const found = operationsIn(root)
  const welcome = found.find(({ type }) => type === 'koaws:welcome')
  if (welcome?.action !== 'receive') return found
  const opposite = new Map([
    ['receive', 'send'],
    ['send', 'receive'],
  ])
  return found.map((one) => ({ ...one, action: opposite.get(String(one.action)) }))
}

function operationsIn(root: unknown): Operation[] {
  return entriesOf(member(root, 'operations')).map(([name, raw]) => {
    const at = `/operations${step(name)}`
    const { value } = follow(root, raw, at)
    const channel = follow(root, member(value, 'channel'), `${at}/channel`)
    const messages = messagesOf(root, value, at)
    const reply = member(value, 'reply')
    return {
      type: messages[0]?.type ?? name,
      action: member(value, 'action'),
      at,
      channel: isFields(channel.value) ? { ...channel, root } : null,
      messages,
      reply:
        reply === undefined
          ? null
          : messagesOf(root, follow(root, reply, `${at}/reply`).value, `${at}/reply`),
    }
  })
}

/** Returns what a chain of references ends at. */
function follow(root: unknown, given: unknown, place: string): { value: unknown; at: string } {
  let found = { value: given, at: place }
  for (let hops = 0; hops < 8; hops++) {
    const ref = member(found.value, '$ref')
    const next = typeof ref === 'string' ? valueAt(root, ref) : null
    if (!next) return found
    found = next
  }
  return found
}

/** Returns the messages of an operation or a reply; all of its channel if it names none. */
function messagesOf(root: unknown, owner: unknown, at: string): Message[] {
  const named = member(owner, 'messages')
  const channel = follow(root, member(owner, 'channel'), at)
  const all = entriesOf(member(channel.value, 'messages'))
  const list = Array.isArray(named) ? itemsOf(named) : all.map(([, one]) => one)
  return list.map((raw, i) => {
    const { value, at: place } = follow(root, raw, `${at}/messages${step(i)}`)
    const payload = payloadOf(root, value, place)
    const constant = member(member(member(payload?.schema, 'properties'), 'type'), 'const')
    const name = member(value, 'name')
    return {
      type: [constant, name].find((one) => typeof one === 'string') ?? place,
      at: place,
      contentType: member(value, 'contentType') ?? member(root, 'defaultContentType'),
      payload,
    }
  })
}

/** Returns the payload: a JSON Schema, also inside of a Multi Format Schema Object. */
function payloadOf(root: unknown, message: unknown, at: string): Located | null {
  const payload = member(message, 'payload')
  const multi = member(payload, 'schemaFormat') !== undefined
  const schema = multi ? member(payload, 'schema') : payload
  const place = `${at}/payload${multi ? '/schema' : ''}`
  return isJsonSchema(schema) ? { schema, at: place, root } : null
}

function compareOperations(old: Operation, now: Operation, findings: Findings): void {
  compareChannels(old, now, findings)
  const clientSends = old.action === 'receive'
  compareMessages(old, clientSends ? 'input' : 'output', old.messages, now.messages, now, findings)
  // Without a reply the server sends no id: old clients do not answer then.
  if (old.reply && !now.reply && !clientSends) findings.remove(say.removed('id'), old.type)
  if (old.reply && !now.reply) {
    if (clientSends) findings.add('The server no longer replies.', now.at, old.type)
  } else if (!old.reply && now.reply) {
    if (!clientSends)
      findings.add('The server now asks for an answer.', `${now.at}/reply`, old.type)
  } else if (old.reply && now.reply) {
    const side = clientSends ? 'output' : 'input'
    compareMessages(old, side, old.reply, now.reply, now, findings)
    const [sent, sends] = [old.reply, now.reply].map((list) => list.some(isItem))
    if (sent && !sends) findings.add('The server no longer sends items.', now.at, old.type)
  }
}

function isItem({ type }: Message): boolean {
  return type === ITEM
}

/** Compares each message of the sender with the message of the receiver that has its type. */
function compareMessages(
  { type }: Operation,
  side: Side,
  old: readonly Message[],
  now: readonly Message[],
  { at }: Operation,
  findings: Findings,
): void {
  const [senders, receivers] = side === 'input' ? [old, now] : [now, old]
  for (const sender of senders) {
    const receiver = receivers.find((one) => one.type === sender.type)
    if (!receiver) {
      const name = JSON.stringify(sender.type)
      const message =
        side === 'input'
          ? `Clients may no longer send the message ${name}.`
          : `The server may now send the message ${name}, which clients do not know here.`
      findings.add(message, side === 'input' ? at : sender.at, type)
    } else compareMessage(type, side, sender, receiver, findings)
  }
}

function compareMessage(
  type: string,
  side: Side,
  sender: Message,
  receiver: Message,
  findings: Findings,
): void {
  const after = side === 'input' ? receiver : sender
  if (sender.contentType !== receiver.contentType) {
    findings.add(`The content type of ${JSON.stringify(sender.type)} changed.`, after.at, type)
  }
  if (!sender.payload && !receiver.payload) return
  if (!sender.payload || !receiver.payload) {
    const message = 'The payload cannot be compared: one of the two has no JSON Schema.'
    findings.add(message, after.at, type, 'unknown')
    return
  }
  for (const gap of gapsBetween(sender.payload, receiver.payload, side)) {
    findings.add(gap.message, gap.at, type, gap.judged ? 'breaking' : 'unknown')
  }
}

function compareChannels(old: Operation, now: Operation, findings: Findings): void {
  const [before, after] = [old.channel, now.channel]
  if (!before || !after || findings.list.some(({ pointer }) => pointer.startsWith(after.at))) return
  const [was, is] = [before, after].map(({ value }) => member(value, 'address'))
  if (was !== is) {
    findings.add(
      `The address changed from ${jsonText(was)} to ${jsonText(is)}.`,
      `${after.at}/address`,
    )
  }
  for (const [name, parameter] of entriesOf(member(after.value, 'parameters'))) {
    const earlier = member(member(before.value, 'parameters'), name)
    const list = member(follow(after.root, parameter, '').value, 'enum')
    if (earlier === undefined || !Array.isArray(list)) continue
    const values = member(follow(before.root, earlier, '').value, 'enum')
    const lost = itemsOf(values).filter((one) => !list.includes(one))
    const at = `${after.at}/parameters${step(name)}`
    if (!Array.isArray(values)) {
      findings.add(`The parameter "${name}" allows only some values now.`, at)
    } else if (lost.length > 0) {
      findings.add(`The parameter "${name}" no longer allows ${lost.map(jsonText).join(', ')}.`, at)
    }
  }
  compareHandshakes(before, after, findings)
}

/** Compares the WebSocket bindings: what a client sends with its handshake. */
function compareHandshakes(before: Channel, after: Channel, findings: Findings): void {
  const [was, is] = [before, after].map(({ value, root }) => {
    return follow(root, member(follow(root, member(value, 'bindings'), '').value, 'ws'), '').value
  })
  const at = `${after.at}/bindings/ws`
  if (!sameJson(member(was, 'method') ?? 'GET', member(is, 'method') ?? 'GET'))
    findings.add('The method of the handshake changed.', `${at}/method`)
  for (const part of ['query', 'headers']) {
    const [sub, sup] = [member(was, part) ?? { type: 'object', properties: {} }, member(is, part)]
    if (!isJsonSchema(sup) || !isJsonSchema(sub)) continue
    const gaps = gapsBetween(
      { schema: sub, at: `${before.at}/bindings/ws/${part}`, root: before.root },
      { schema: sup, at: `${at}/${part}`, root: after.root },
      'input',
    )
    for (const gap of gaps) {
      const message = `In the ${part} of the handshake: ${gap.message}`
      findings.add(message, gap.at, undefined, gap.judged ? 'breaking' : 'unknown')
    }
  }
}
