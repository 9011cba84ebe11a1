/** The text of a publish order, of a broadcast, and the position of the digits in it. */

export const PUBLISHER_BASE = 1000
export const SEQUENCE_BASE = 100_000_000

const NAMES = ['ada', 'grace', 'edsger', 'barbara', 'donald', 'frances', 'alan', 'radia']

function bodyOf(size) {
  const body = {}
  const items = []
  const length = () => JSON.stringify({ p: PUBLISHER_BASE, s: SEQUENCE_BASE, ...body }).length
  if (size >= 512 && size <= 8192) {
    body.items = items
    for (let i = 0; length() < size - 100; i++) {
      const name = NAMES[(i * 7 + (i >> 3)) % NAMES.length]
      items.push({ id: i * 7919, name, online: i % 3 === 0, score: (i * 2654435761) % 1000 })
    }
  }
  body.text = ''
  body.text = 'the same text for every contestant, repeated '.repeat(size / 45 + 1)
  body.text = body.text.slice(0, body.text.length - (length() - size))
  return body
}

const bodies = new Map()

/**
 * Returns the object of one broadcast. Its text has size bytes for every publisher and sequence.
 */
export function objectOf(p, s, size) {
  let body = bodies.get(size)
  if (!body) {
    body = bodyOf(size)
    bodies.set(size, body)
  }
  return { p, s, ...body }
}

export function textOf(p, s, size) {
  return JSON.stringify(objectOf(p, s, size))
}

/** "publisher,sequence,how many,size" */
export function parsePublish(text) {
  const [p, s, count, size] = text.split(',').map(Number)
  return { p, s, count, size }
}

/**
 * For the load client: the text around the digits, with the framing of a protocol before and after.
 */
export function templateOf(size, before = '', after = '') {
  const text = before + textOf(PUBLISHER_BASE, SEQUENCE_BASE, size) + after
  return {
    bytes: Buffer.from(text).toString('hex'),
    publisherAt: text.indexOf('"p":') + 4,
    sequenceAt: text.indexOf('"s":') + 4,
  }
}
