import { expect } from 'chai'
import { InstanceQuestions } from '../../lib/hub/instance-questions.ts'
import { memoryAdapter, OptionsError } from '../../lib/index.ts'
import { cleanUp, deferred, eventually, makeHub, serve } from '../support/server.ts'

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.fail('it resolved'),
    (error: Error) => error,
  )
}

describe('hub.ask() and hub.answer()', () => {
  afterEach(cleanUp)

  function three() {
    const adapter = memoryAdapter()
    const hubs = [makeHub({ adapter }), makeHub({ adapter }), makeHub({ adapter })] as const
    return { hubs, ids: hubs.map((hub) => hub.status().id) }
  }

  async function acquainted(hubs: readonly ReturnType<typeof makeHub>[]): Promise<void> {
    await eventually(
      () => hubs.every((hub) => hub.status().backplane.instances === hubs.length - 1),
      'that the instances know each other',
    )
  }

  it('reach all instances, this one included, with data and the name of the asker', async () => {
    const { hubs, ids } = three()
    await acquainted(hubs)
    for (const [i, hub] of hubs.entries()) {
      hub.answer('sum', async (data, from) => ({ i, data, from }))
    }
    const answers = await hubs[1].ask('sum', { a: [1, 'é'] })
    expect(answers.missing).to.deep.equal([])
    expect(Object.fromEntries(answers.map(({ instance, data }) => [instance, data]))).to.deep.equal(
      Object.fromEntries(ids.map((id, i) => [id, { i, data: { a: [1, 'é'] }, from: ids[1] }])),
    )
  })

  it('ask chosen instances, and name unknown instances as missing', async () => {
    const { hubs, ids } = three()
    await acquainted(hubs)
    for (const hub of hubs) hub.answer('n', () => 1)
    const answers = await hubs[0].ask('n', null, { instances: [String(ids[2]), 'unknown'] })
    expect(answers.map(({ instance }) => instance)).to.deep.equal([ids[2]])
    expect(answers.missing).to.deep.equal(['unknown'])
  })

  it('name instances without a handler, with a failed one and with a large answer as missing', async () => {
    const adapter = memoryAdapter()
    const site = await serve(() => {}, { adapter })
    // The app is known after the first request.
    await fetch(`http://127.0.0.1:${site.port}/`)
    const hubs = [site.hub, makeHub({ adapter }), makeHub({ adapter })] as const
    await acquainted(hubs)
    site.hub.answer('n', () => {
      throw new Error('broken')
    })
    hubs[1].answer('n', () => 'x'.repeat(262_144))
    const answers = await hubs[2].ask('n')
    expect([...answers]).to.deep.equal([])
    expect([...answers.missing].sort()).to.deep.equal(hubs.map((hub) => hub.status().id).sort())
    expect(site.errors.map(({ error, where }) => [error.message, where])).to.deep.equal([
      ['broken', 'hub.answer("n")'],
    ])
  })

  it('give up at the timeout, and ignore later answers', async () => {
    const { hubs, ids } = three()
    await acquainted(hubs)
    const late = deferred<number>()
    hubs[0].answer('n', () => 0)
    hubs[1].answer('n', () => late.promise)
    hubs[2].answer('n', () => 2)
    const answers = await hubs[0].ask('n', null, { timeout: 200 })
    expect(answers.missing).to.deep.equal([ids[1]])
    late.resolve(1)
    expect(await hubs[0].ask('n')).to.have.length(3)
  })

  it('do not wait for an instance that leaves, and end with the hub', async () => {
    const { hubs, ids } = three()
    await acquainted(hubs)
    const never = new Promise(() => {})
    hubs[0].answer('n', () => 0)
    for (const hub of hubs.slice(1)) hub.answer('n', () => never)
    const asking = hubs[0].ask('n', null, { timeout: 10_000, instances: ids.slice(0, 2) })
    await hubs[1].close()
    expect((await asking).missing).to.deep.equal([ids[1]])
    const rest = hubs[0].ask('n', null, { timeout: 10_000 })
    await hubs[0].close()
    expect((await rest).missing).to.deep.equal([ids[2]])
    expect((await hubs[0].ask('n')).missing).to.include(ids[0])
  })

  it('stop answering when the handler is removed', async () => {
    const hub = makeHub()
    const remove = hub.answer('n', () => undefined)
    expect([...(await hub.ask('n'))].map(({ data }) => data)).to.deep.equal([null])
    remove()
    expect((await hub.ask('n')).missing).to.deep.equal([hub.status().id])
    hub.answer('n', () => 2)
    remove() // of an earlier handler
    expect(await hub.ask('n')).to.have.length(1)
  })

  it('refuse wrong arguments', async () => {
    const hub = makeHub()
    hub.answer('n', () => 1)
    expect(() => hub.answer('n', () => 2)).to.throw(OptionsError, 'remove that one first')
    expect(() => hub.answer('', () => 2)).to.throw(TypeError)
    expect(() => hub.answer('m', 7 as never)).to.throw(OptionsError, 'takes a handler, not 7')
    expect(await failure(hub.ask(''))).to.be.instanceOf(TypeError)
    expect(await failure(hub.ask('n', () => 1))).to.be.instanceOf(TypeError)
    expect(await failure(hub.ask('n', 'x'.repeat(16_384)))).to.have.property(
      'code',
      'ERR_KOAWS_BACKPLANE_REFUSED',
    )
    expect((await failure(hub.ask('n', 1, { timeout: 0 }))).message).to.include('from 1 to 10000')
    expect((await failure(hub.ask('n', 1, { time: 0 } as never))).message).to.include('timeout')
  })

  it('leave notes of others alone, and survive malformed ones', () => {
    const told: string[] = []
    const questions = new InstanceQuestions('me', {
      peers: () => [],
      tell: (to, text) => told.push(`${to} ${text}`) > 0,
      failed: () => {},
    })
    expect(questions.noted('x', '{"resend":true}')).to.equal(false)
    for (const text of [
      '{"ask":',
      '{"ask":7}',
      '{"ask":{"id":-1,"name":"n"}}',
      '{"told":{"id":9}}',
    ]) {
      expect(questions.noted('x', text)).to.equal(true)
    }
    expect(told).to.deep.equal([])
    questions.noted('x', '{"ask":{"id":3,"name":"n","data":1}}')
    expect(told).to.deep.equal(['x {"told":{"id":3,"data":null,"failed":true}}'])
  })

  it('answer at most 100 questions at a time', async () => {
    const hub = makeHub()
    const held = deferred<number>()
    hub.answer('n', () => held.promise)
    const asking = Array.from({ length: 101 }, () => hub.ask('n'))
    expect((await (asking.at(-1) as (typeof asking)[number])).missing).to.have.length(1)
    held.resolve(1)
    expect(
      (await Promise.all(asking.slice(0, 100))).flatMap(({ missing }) => missing),
    ).to.deep.equal([])
  })
})
