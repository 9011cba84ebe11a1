import { expect } from 'chai'
import type { KoaWsOptions } from '../../../lib/index.ts'
import { type InspectorOptions, inspector } from '../../../lib/inspector/index.ts'
import type { TestSocket } from '../../../lib/testing/index.ts'
import { type House, house } from '../../support/order.ts'
import { openSocket } from '../../support/server.ts'

/** A house with an inspector. */
export function inspectedHouse(
  options: InspectorOptions = {},
  hubOptions: KoaWsOptions = {},
): Promise<House> {
  return house(
    hubOptions,
    () => {},
    (app, hub) => {
      app.use(inspector(hub, { app, ...options }))
    },
  )
}

/** The socket of a page, with requests. */
export class PageSocket {
  readonly socket: TestSocket
  #last = 0

  constructor(socket: TestSocket) {
    this.socket = socket
  }

  static async open(port: number, headers: Record<string, string> = {}): Promise<PageSocket> {
    const socket = await openSocket(port, '/inspector/socket', { protocols: ['koaws.v1'], headers })
    expect(await socket.nextJson()).to.have.property('type', 'koaws:welcome')
    return new PageSocket(socket)
  }

  /** Returns the reply; rejects with the text of an error. */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows its replies
  async ask(type: string, data?: unknown): Promise<any> {
    const id = ++this.#last
    this.socket.send(JSON.stringify({ type, id, data }))
    const answer = (await this.socket.nextJson()) as { data?: unknown; error?: { message: string } }
    if (answer.error) throw new Error(answer.error.message)
    return answer.data
  }
}
