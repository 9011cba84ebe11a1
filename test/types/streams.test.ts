import { expectTypeOf } from 'expect-type'
import { z } from 'zod'
import { type DefinitionOf, messages, protocol } from '../../lib/index.ts'
import type {
  StreamItem,
  StreamType,
  UploadGiven,
  UploadType,
} from '../../lib/protocol/definition.ts'

const aiProtocol = protocol({
  ask: {
    data: z.object({ prompt: z.string() }),
    stream: z.object({ token: z.string(), at: z.date() }),
    reply: z.object({ tokens: z.number() }),
  },
  lines: { stream: z.string() },
  upload: {
    data: z.object({ name: z.string() }),
    upload: z.object({ part: z.string(), at: z.coerce.date() }),
    reply: z.object({ bytes: z.number() }),
  },
  say: { data: z.string(), reply: z.number() },
})
type Ai = DefinitionOf<typeof aiProtocol>

describe('types of streams', () => {
  it('type the items and the reply of a generator', () => {
    const ai = messages(aiProtocol)
    ai.on('ask', async function* ({ data, signal }) {
      expectTypeOf(data).toEqualTypeOf<{ prompt: string }>()
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      yield { token: 'a', at: new Date() }
      return { tokens: 1 }
    })
    ai.on('lines', async function* () {
      yield 'a line'
    })
    // @ts-expect-error the items are strings
    messages(aiProtocol).on('lines', async function* () {
      yield 7
    })
    // @ts-expect-error the reply has tokens
    messages(aiProtocol).on('ask', async function* () {
      yield { token: 'a', at: new Date() }
      return { words: 1 }
    })
    // @ts-expect-error a stream needs a generator
    messages(aiProtocol).on('ask', () => ({ tokens: 1 }))
    // @ts-expect-error a type without a stream yields nothing
    messages(aiProtocol).on('say', async function* () {
      yield 7
    })
  })

  it('type the items of the client, and the options of a handler', () => {
    messages(aiProtocol).on(
      'upload',
      async ({ upload }) => {
        let bytes = 0
        for await (const { part, at } of upload) {
          expectTypeOf(part).toEqualTypeOf<string>()
          expectTypeOf(at).toEqualTypeOf<Date>()
          bytes += part.length
        }
        return { bytes }
      },
      { resume: true },
    )
    // @ts-expect-error an unknown option
    const wrong = () => messages(aiProtocol).on('say', () => 7, { retry: true })
    expectTypeOf(wrong).toBeFunction()
  })

  it('say what clients send and get', () => {
    expectTypeOf<StreamType<Ai>>().toEqualTypeOf<'ask' | 'lines'>()
    expectTypeOf<UploadType<Ai>>().toEqualTypeOf<'upload'>()
    expectTypeOf<StreamItem<Ai, 'ask'>>().toEqualTypeOf<{ token: string; at: string }>()
    expectTypeOf<UploadGiven<Ai, 'upload'>>().toMatchTypeOf<{ part: string }>()
  })

  it('follow from the handlers where there is no protocol', () => {
    const open = messages().on('count', z.number(), async function* ({ data }) {
      yield data
      return { done: true }
    })
    type Open = DefinitionOf<typeof open>
    expectTypeOf<StreamType<Open>>().toEqualTypeOf<'count'>()
    expectTypeOf<StreamItem<Open, 'count'>>().toEqualTypeOf<number>()
  })
})
