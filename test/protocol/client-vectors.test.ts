import { WebSocket } from 'ws'
import { type ClientStream, connect, RequestError } from '../../lib/client/index.ts'
import {
  type ClientStatus,
  type ClientUnderTest,
  Heard,
  type Outcome,
  testClient,
} from './support/client-run.ts'
import type { Action, App, Json } from './support/vectors.ts'

describe('the client and docs/protocol-vectors.json', () => {
  testClient(async (url, app) => new OwnClient(url, app), 'all')
})

/** Stands for the end of a stream. */
const END = Symbol('end')

/** Errors that the client makes itself, without an answer. */
const WITHOUT_ANSWER = new Set(['ERR_KOAWS_TIMEOUT', 'ERR_KOAWS_CLOSED'])

/** The client of this repository. */
class OwnClient implements ClientUnderTest {
  readonly heard = new Heard()
  readonly tellsAbsence = true
  readonly #client: ReturnType<typeof connect>
  /** By the name of the stream. */
  readonly #streams = new Map<string, ClientStream>()

  /** Ends the reload that began last. */
  #reloaded: (position: string) => void = () => {}

  constructor(url: string, app: App = {}) {
    const { token, tokenIn, positions } = app
    const tokens = [...(token ?? [])]
    const reload = () =>
      new Promise<string>((resolve) => {
        this.#reloaded = resolve
      })
    this.#client = connect(url, {
      WebSocket: WebSocket as never,
      ...(token && { token: () => tokens.shift(), tokenIn }),
      positions,
      reload: app.reload && reload,
      onError: (error) => {
        if (error instanceof RequestError) this.heard.reported.push(error.code)
      },
    })
  }

  async open(): Promise<void> {
    this.#client.open()
  }

  async do(action: Action): Promise<void> {
    if ('on' in action) this.#listen(action)
    else if ('push' in action) this.#client.push(...action.push)
    else if ('request' in action) this.#request(action)
    else if ('stream' in action) this.#stream(action)
    else if ('take' in action) this.#take(action)
    else if ('leave' in action) await this.#streams.get(action.leave)?.return()
    else if ('upload' in action) this.#upload(action)
    else if ('reloaded' in action) this.#reloaded(action.reloaded)
    else this.#client.close()
  }

  async status(): Promise<ClientStatus> {
    const { status, retryAt = null } = this.#client.state
    return { status, retryAt }
  }

  async end(): Promise<void> {
    this.#client.close()
  }

  #listen({ on, answer, fail }: Extract<Action, { on: string }>): void {
    this.#client.on(on as 'said', (data: unknown) => {
      this.heard.received.push([on, data as Json | undefined])
      if (fail !== undefined) throw new Error(fail)
      return answer
    })
  }

  #request({
    request: [type, data],
    as,
    timeout,
    retry,
  }: Extract<Action, { request: unknown }>): void {
    this.#keep(as, this.#client.request(type, data, { timeout, retry }))
  }

  #stream(action: Extract<Action, { stream: unknown }>): void {
    const [type, data] = action.stream
    const { as, credit, resume } = action
    const stream = this.#client.stream(type, data, { credit, resume })
    this.#streams.set(as, stream)
    this.#keep(as, stream.reply)
  }

  #take({ take, as }: Extract<Action, { take: string }>): void {
    const item = this.#streams
      .get(take)
      ?.next()
      .then(({ done, value }) => (done ? END : value))
    this.#keep(as, item)
  }

  #upload({ upload: [type, data], items, as }: Extract<Action, { items: Json[] }>): void {
    this.#keep(as, this.#client.upload(type, data, items))
  }

  /** Keeps the outcome under a name. */
  #keep(name: string, outcome: Promise<unknown> | undefined): void {
    const { results } = this.heard
    outcome?.then(
      (value) => results.set(name, value === END ? { ended: true } : { value: value as Json }),
      (error) => results.set(name, outcomeOf(error)),
    )
  }
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof RequestError) || WITHOUT_ANSWER.has(error.code)) {
    return { lost: String(error) }
  }
  const { code, message, status, retryable, data } = error
  return {
    error: { code, message, status, retryable, ...(data !== undefined && { data: data as Json }) },
  }
}
