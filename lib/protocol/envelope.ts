import { assertName } from '../validate.ts'

/** Types that begin so are the protocol's own. */
const RESERVED = 'koaws:'

/**
 * A message from the server that answers nothing, in the subprotocol `koaws.v1`.
 *
 * @throws TypeError when the type is no string of 1 to 255 bytes, or is reserved, or the data has no
 * JSON form
 */
export function pushText(type: string, data: unknown): string {
  assertName('message type', type)
  if (type.startsWith(RESERVED)) {
    throw new TypeError(`Message types that begin with "${RESERVED}" are the protocol's own.`)
  }
  return envelope(type, data)
}

/** The last message before a shutdown closes: when to come back, in milliseconds. */
export function byeText(code: number, reason: string, after: number): string {
  return envelope(`${RESERVED}bye`, { code, reason, after })
}

function envelope(type: string, data: unknown): string {
  const text = JSON.stringify(data === undefined ? null : data) as string | undefined
  if (text === undefined) {
    throw new TypeError(`The data of a message needs a JSON form; ${typeof data} has none.`)
  }
  return `{"type":${JSON.stringify(type)},"data":${text}}`
}
