import { RawClient, textFrame } from './raw-client.mjs'
import { TOKENS, upgradeRequest } from './request.mjs'

const ZERO = 48
const OPEN = ZERO
const PING = ZERO + 2
const PACKET = ZERO + 4

/** A member of the room: it answers keep-alive messages, and passes on the bytes of each message. */
export class RawMember {
  #client
  #kind
  #owner
  /** The next number of each publisher. */
  expected

  constructor(port, kind, publishers, owner) {
    this.#kind = kind
    this.#owner = owner
    this.expected = new Uint32Array(publishers)
    const request = upgradeRequest(port, TOKENS.valid).toString('latin1')
    const path = '/socket.io/?EIO=4&transport=websocket'
    this.#client = new RawClient(
      port,
      kind === 'ws' ? request : request.replace('/room/lobby', path),
      {
        opened: () => {
          if (kind === 'ws') owner.opened(this)
        },
        text: (_client, bytes, start, size) => this.#text(bytes, start, size),
        closed: () => owner.closed(this),
        wrong: (reason) => owner.wrong(reason),
      },
    )
  }

  destroy() {
    this.#client.destroy()
  }

  #text(bytes, start, size) {
    if (this.#kind === 'ws') {
      this.#owner.message(this, bytes, start, size)
      return
    }
    const type = bytes[start]
    if (type === PACKET && bytes[start + 1] === PACKET - 2) {
      this.#owner.message(this, bytes, start, size)
    } else if (type === PING && size === 1) this.#client.write(textFrame('3'))
    else if (type === OPEN) this.#client.write(textFrame('40'))
    else if (type === PACKET && bytes[start + 1] === ZERO) this.#owner.opened(this)
    else this.#owner.wrong(`a packet of type ${type - ZERO}`)
  }
}
