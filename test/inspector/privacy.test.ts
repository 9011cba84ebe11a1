import { expect } from 'chai'
import type { InspectorOptions } from '../../lib/inspector/index.ts'
import { cleanUp, openSocket, rejected } from '../support/server.ts'
import { inspectedHouse, PageSocket } from './support/page.ts'

const SECRETS = {
  query: 'token-in-the-query',
  cookie: 'session-in-a-cookie',
  header: 'token-in-authorization',
  subprotocol: 'token-among-subprotocols',
  state: 'password-in-the-state',
  body: 'words-in-a-message',
  sent: 'words-of-the-server',
}

describe('the output of the inspector', () => {
  afterEach(cleanUp)

  /** Everything that a page can ask for, in one text. */
  async function output(options: InspectorOptions = {}): Promise<string> {
    const { port, hub } = await inspectedHouse(options)
    const headers = {
      Cookie: `session=${SECRETS.cookie}`,
      Authorization: `Bearer ${SECRETS.header}`,
    }
    const protocols = ['koaws.v1', `koaws.bearer.${SECRETS.subprotocol}`]
    const query = `?token=${SECRETS.query}&user=ann&rooms=["r"]`
    for (const path of ['/none', '/']) {
      const foreign = { headers: { ...headers, Origin: 'https://evil.example' }, protocols }
      await rejected(openSocket(port, `${path}${query}`, foreign))
    }
    await rejected(openSocket(port, `/none${query}`, { headers }))
    const left = await openSocket(port, `/v1${query}`, { headers, protocols })
    left.close()
    await left.closed
    const socket = await openSocket(port, `/v1${query}`, { headers, protocols })
    const connection = [...hub.localConnections.values()].find(({ userId }) => userId === 'ann')
    const state = connection?.state as Record<string, unknown>
    state['password'] = SECRETS.state
    const page = await PageSocket.open(port)
    const answers: unknown[] = []
    const all = async (): Promise<void> => {
      answers.push(await page.ask('hello'), await page.ask('overview'))
      answers.push(await page.ask('connections'), await page.ask('refusals'))
      answers.push(await page.ask('closes'), await page.ask('connection', { id: connection?.id }))
      for (const [kind, name] of [
        ['room', 'r'],
        ['user', 'ann'],
      ]) {
        answers.push(await page.ask('groups', { kind }), await page.ask('group', { kind, name }))
      }
    }
    await all()
    socket.send(SECRETS.body)
    hub.room('r').send(SECRETS.sent)
    hub.user('ann').push('said', SECRETS.sent)
    await socket.next()
    await socket.next()
    await all()
    expect(answers).to.have.length(20)
    return JSON.stringify(answers)
  }

  it('has no credential, no state and no body', async () => {
    const text = await output()
    expect(text).to.include('"ann"').and.to.include('/none')
    for (const [where, secret] of Object.entries(SECRETS))
      expect(text, where).to.not.include(secret)
  })

  it('has the bodies and the part of the state that were asked for, and no credential', async () => {
    const text = await output({ bodies: true, redact: (state) => state })
    for (const where of ['state', 'body', 'sent'] as const) expect(text).to.include(SECRETS[where])
    for (const where of ['query', 'cookie', 'header', 'subprotocol'] as const) {
      expect(text, where).to.not.include(SECRETS[where])
    }
  })

  it('has texts of clients at a bounded length, and a failure of redact', async () => {
    const { port, hub, enter } = await inspectedHouse({
      redact: () => {
        throw new Error('broken')
      },
    })
    const { connection } = await enter({ user: 'u'.repeat(255), rooms: ['r'.repeat(255)] })
    await rejected(openSocket(port, `/${'p'.repeat(4_000)}`))
    const page = await PageSocket.open(port)
    const { details } = await page.ask('connection', { id: connection.id })
    expect(details.user).to.have.length(200)
    expect(details.state).to.equal('redact failed: Error: broken')
    expect((await page.ask('refusals')).all[0].path).to.have.length.at.most(200)
    expect(hub.localConnections.size).to.equal(2)
  })
})
