import { type } from 'arktype'
import { expect } from 'chai'
import * as v from 'valibot'
import { z } from 'zod'
import { messages, protocol, type StandardSchema } from '../../lib/index.ts'
import { cleanUp } from '../support/server.ts'
import { ask, hear, serveMessages, talk, type Wire } from '../support/talk.ts'

const LIBRARIES: Record<string, { data: StandardSchema; reply: StandardSchema }> = {
  zod: {
    data: z.object({ text: z.string().max(5), tags: z.array(z.number()) }),
    reply: z.object({ ok: z.boolean() }),
  },
  valibot: {
    data: v.object({ text: v.pipe(v.string(), v.maxLength(5)), tags: v.array(v.number()) }),
    reply: v.object({ ok: v.boolean() }),
  },
  arktype: {
    data: type({ text: 'string<=5', tags: 'number[]' }),
    reply: type({ ok: 'boolean' }),
  },
}

const issuesOf = ({ error }: Wire): { message: string; path: unknown[] }[] =>
  (error as { data: { issues: { message: string; path: unknown[] }[] } }).data.issues

describe('validation', () => {
  afterEach(cleanUp)

  for (const [name, { data, reply }] of Object.entries(LIBRARIES)) {
    describe(`with ${name}`, () => {
      it('accepts valid data, and reports the path of each invalid value', async () => {
        const chat = messages(protocol({ say: { data, reply } })).on('say', () => ({ ok: true }))
        const { port, hub } = await serveMessages(chat, {}, {})
        const socket = await talk(port)
        expect((await ask(socket, 'say', { text: 'hi', tags: [1] })).data).to.deep.equal({
          ok: true,
        })
        const long = await ask(socket, 'say', { text: 'too long', tags: [1] })
        expect(long.error).to.include({ code: 'ERR_KOAWS_INVALID', status: 400, retryable: false })
        expect(issuesOf(long).map(({ path }) => path)).to.deep.equal([['text']])
        const inside = await ask(socket, 'say', { text: 'hi', tags: [1, 'x'] })
        expect(issuesOf(inside)[0]?.path).to.deep.equal(['tags', 1])
        expect(inside.error?.message).to.match(/^tags\.1: ./)
        const both = await ask(socket, 'say', { text: 7, tags: ['x'] })
        expect(issuesOf(both)).to.have.lengthOf(2)
        expect(issuesOf(await ask(socket, 'say'))[0]?.path).to.deep.equal([])
        expect(hub.status().drops).to.deep.include({ invalid: 4 })
      })

      it('hides an invalid reply from the client, unless validateOut is false', async () => {
        for (const validateOut of [true, false]) {
          const chat = messages(protocol({ say: { reply } }), { validateOut }).on('say', () => ({
            ok: 'secret',
          }))
          const { port, errors } = await serveMessages(chat)
          const answer = await ask(await talk(port), 'say')
          if (validateOut) expect(answer.error).to.include({ code: 'internal' })
          else expect(answer.data).to.deep.equal({ ok: 'secret' })
          expect(errors.map(({ error }) => error['code'])).to.deep.equal(
            validateOut ? ['ERR_KOAWS_INVALID'] : [],
          )
        }
      })
    })
  }

  it('hands the output of the schema to the handler', async () => {
    const at = protocol({
      at: { data: z.object({ when: z.coerce.date(), note: z.string().default('none') }) },
    })
    const chat = messages(at).on('at', ({ data }) => [
      data.when instanceof Date,
      data.when.getTime(),
      data.note,
    ])
    const { port } = await serveMessages(chat)
    const answer = await ask(await talk(port), 'at', { when: '2026-01-01T00:00:00Z', extra: 1 })
    expect(answer.data).to.deep.equal([true, Date.UTC(2026, 0, 1), 'none'])
  })

  it('waits for an asynchronous schema, and keeps the order', async () => {
    const seen: unknown[] = []
    const slow = z.number().refine(async (n) => {
      await new Promise((resolve) => setTimeout(resolve, n))
      return n !== 13
    }, 'unlucky')
    const chat = messages(protocol({ n: { data: slow }, now: {} }))
      .on('n', ({ data }) => seen.push(data))
      .on('now', () => seen.push('now'))
    const { port } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'n', id: 1, data: 20 })
    socket.json({ type: 'n', id: 2, data: 13 })
    socket.json({ type: 'now', id: 3 })
    expect((await hear(socket)).id).to.equal(1)
    expect(await hear(socket)).to.deep.include({ id: 2, type: 'koaws:error' })
    expect((await hear(socket)).id).to.equal(3)
    expect(seen).to.deep.equal([20, 'now'])
  })

  it('by a schema that throws is an error of the application', async () => {
    const failing = (validate: () => never | Promise<never>): StandardSchema => ({
      '~standard': { version: 1, vendor: 'test', validate },
    })
    const sync = failing(() => {
      throw new Error('in the schema')
    })
    const later = failing(() => Promise.reject(new Error('in the schema')))
    const chat = messages()
      .on('sync', sync, () => 1)
      .on('later', later, () => 1)
      .on('fine', () => 1)
    const { port, errors, hub } = await serveMessages(chat)
    const socket = await talk(port)
    for (const name of ['sync', 'later'])
      expect((await ask(socket, name)).error).to.include({ code: 'internal' })
    expect((await ask(socket, 'fine')).data).to.equal(1)
    expect(errors.map(({ error }) => error.message)).to.deep.equal(Array(2).fill('in the schema'))
    expect(hub.status().drops).to.deep.equal({})
  })

  it('removes the data of a type without a data schema', async () => {
    const chat = messages(protocol({ typing: {} })).on('typing', ({ data }) => String(data))
    const { port } = await serveMessages(chat)
    expect((await ask(await talk(port), 'typing', { sneaked: 'in' })).data).to.equal('undefined')
  })

  it('reports at most ten issues, and cuts long ones', async () => {
    const endless: StandardSchema = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: () => ({
          issues: Array.from({ length: 1000 }, () => ({
            message: 'x'.repeat(10_000),
            path: [{ key: 'y'.repeat(10_000) }, Symbol('z'), 3],
          })),
        }),
      },
    }
    const { port } = await serveMessages(messages().on('x', endless, () => 1))
    const answer = await ask(await talk(port), 'x')
    const issues = issuesOf(answer)
    expect(issues).to.have.lengthOf(10)
    expect(issues[0]?.path).to.deep.equal(['y'.repeat(200), 'Symbol(z)', 3])
    expect(JSON.stringify(answer).length).to.be.below(6_000)
  })

  it('takes no return value of a handler as null or undefined', async () => {
    for (const reply of [z.null(), z.undefined(), z.void(), z.boolean().nullable()]) {
      const chat = messages(protocol({ x: { reply: reply as StandardSchema } })).on('x', () => {})
      const { port } = await serveMessages(chat)
      expect(await ask(await talk(port), 'x')).to.have.property('data', null)
    }
  })
})
