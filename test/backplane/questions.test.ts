import { expect } from 'chai'
import { QuestionAnswers, Questions } from '../../lib/backplane/questions.ts'
import type { Message } from '../../lib/backplane/wire.ts'

const member = (id: string) => ({ id, userId: undefined, info: null })

describe('a question to other instances', () => {
  const HOUR = 3_600_000

  it('resolves at once without other instances', async () => {
    const answers = await new Questions().ask([], HOUR, () => expect.fail('sent'))
    expect(answers).to.deep.equal({ answers: [], missing: [] })
  })

  it('resolves when all instances have answered, even in parts', async () => {
    const questions = new Questions()
    let id = 0
    const asked = questions.ask(['a', 'b'], HOUR, (number) => {
      id = number
    })
    questions.answered(id, 'a', { count: 2, members: [member('1')] }, true)
    questions.answered(id, 'b', { count: 0, members: [] }, false)
    questions.answered(id, 'a', { count: 2, members: [member('2')] }, false)
    const { answers, missing } = await asked
    expect(missing).to.deep.equal([])
    expect(answers.map(({ from, members }) => [from, members.map(({ id }) => id)])).to.deep.equal([
      ['a', ['1', '2']],
      ['b', []],
    ])
  })

  it('ignores unexpected instances, and a second answer of an instance', async () => {
    const questions = new Questions()
    const asked = questions.ask(['a', 'b'], HOUR, () => {})
    questions.answered(1, 'a', { count: 1, members: [] }, false)
    questions.answered(1, 'a', { count: 9, members: [] }, false)
    questions.answered(1, 'stranger', { count: 9, members: [] }, false)
    questions.answered(1, 'b', { count: 2, members: [] }, false)
    const { answers } = await asked
    expect(answers.map(({ count }) => count)).to.deep.equal([1, 2])
  })

  it('resolves without an instance that left, and drops its partial answer', async () => {
    const questions = new Questions()
    const asked = questions.ask(['a', 'b'], HOUR, () => {})
    questions.answered(1, 'a', { count: 2, members: [member('1')] }, true)
    questions.answered(1, 'b', { count: 1, members: [] }, false)
    questions.left('a')
    const { answers, missing } = await asked
    expect(answers.map(({ from }) => from)).to.deep.equal(['b'])
    expect(missing).to.deep.equal([])
  })

  it('lists the missing instances at its end, and drops their partial answers', async () => {
    const questions = new Questions()
    const early = questions.ask(['a', 'b'], HOUR, () => {})
    questions.answered(1, 'a', { count: 1, members: [] }, true)
    questions.giveUp()
    expect(await early).to.deep.equal({ answers: [], missing: ['a', 'b'] })
    const late = await questions.ask(['a'], 1, () => {})
    expect(late).to.deep.equal({ answers: [], missing: ['a'] })
  })
})

describe('the answer of this instance', () => {
  it('is sent in parts, each after the acknowledgement of the previous one', async () => {
    const members = Array.from({ length: 2_500 }, (_, i) => member(`${i}`))
    const sent: Message[] = []
    let acknowledge = (): void => {}
    const given = new QuestionAnswers().give(
      7,
      { count: 2_500, members },
      (message) => {
        sent.push(message)
        return new Promise<void>((resolve) => {
          acknowledge = resolve
        })
      },
      () => 0,
    )
    for (const length of [1, 2, 3]) {
      while (sent.length < length) await new Promise(setImmediate)
      await new Promise(setImmediate)
      expect(sent).to.have.length(length)
      acknowledge()
    }
    await given
    const parts = sent.map((one) => (one.kind === 'answer' ? one : expect.fail(one.kind)))
    expect(parts.map(({ more }) => more)).to.deep.equal([true, true, false])
    expect(parts.flatMap((one) => one.members)).to.deep.equal(members)
  })

  it('stops when it takes too long', async () => {
    const members = Array.from({ length: 2_500 }, (_, i) => member(`${i}`))
    let [sent, now] = [0, 0]
    const send = async (): Promise<void> => {
      sent++
      now += 10_001
    }
    await new QuestionAnswers().give(1, { count: 2_500, members }, send, () => now)
    expect(sent).to.equal(1)
  })
})
