import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { accept, bySubprotocol, forward, type Handler, messages } from '../../lib/index.ts'
import { cleanUp, openSocket, rejected, serve } from '../support/server.ts'
import { ask, talk } from '../support/talk.ts'

describe('bySubprotocol()', () => {
  afterEach(cleanUp)

  const wss = new WebSocketServer({ noServer: true })
  wss.on('connection', (ws) => ws.send('from the server of ws'))
  const raw: Handler = (connection) => connection.send(`raw ${connection.protocol}`)
  const handlers = (): Record<string, Handler> => ({
    'koaws.v1': messages().on('x', () => 1) as unknown as Handler,
    'graphql-transport-ws': forward(wss),
  })
  const serveWith = (rest?: Handler): ReturnType<typeof serve> =>
    serve((app) => {
      app.use(accept(bySubprotocol(handlers(), rest)))
    })
  const first = async (port: number, protocols: string[]): Promise<[string, unknown]> => {
    const socket = await openSocket(port, '/', { protocols })
    return [socket.protocol, await socket.next()]
  }

  it('serves each subprotocol with its own handler', async () => {
    const { port } = await serveWith(raw)
    expect((await ask(await talk(port), 'x')).data).to.equal(1)
    expect(await first(port, ['graphql-transport-ws'])).to.deep.equal([
      'graphql-transport-ws',
      'from the server of ws',
    ])
    expect(await first(port, [])).to.deep.equal(['', 'raw '])
  })

  it('prefers the first subprotocol of the record', async () => {
    const { port } = await serveWith()
    const [name] = await first(port, ['other', 'graphql-transport-ws', 'koaws.v1'])
    expect(name).to.equal('koaws.v1')
  })

  it('answers 400 without a matching subprotocol', async () => {
    const { port } = await serveWith()
    const strict = await serveWith(raw)
    for (const [to, protocols] of [
      [port, []],
      [port, ['other']],
      [strict.port, ['other']],
      [strict.port, ['koaws.bearer.x']],
    ] as const) {
      const answer = await rejected(openSocket(to, '/', { protocols: [...protocols] }))
      expect([answer.status, answer.body]).to.deep.equal([
        400,
        'This route speaks koaws.v1, graphql-transport-ws.',
      ])
    }
  })

  it('throws for wrong handlers, and says what to do', () => {
    const wrong: [() => unknown, RegExp][] = [
      [() => bySubprotocol({}), /at least one/],
      [() => bySubprotocol({ x: 7 as never }), /"x" needs a handler/],
      [() => bySubprotocol({ x: messages() as never }), /speaks koaws.v1/],
      [() => bySubprotocol({ x: raw }, 'raw' as never), /the second argument must be a handler/],
      [
        () => bySubprotocol({ x: raw }, messages() as never),
        /speaks koaws\.v1\. Move it into the record/,
      ],
      [
        () => accept(bySubprotocol({ x: raw }), { subprotocol: 'x' }),
        /the handler already sets the subprotocol \(x\)/,
      ],
    ]
    for (const [build, message] of wrong) expect(build, String(message)).to.throw(message)
  })
})
