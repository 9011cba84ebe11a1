// The messages of the example.
import { protocol } from 'koaws'
import { z } from 'zod'

export const modelProtocol = protocol({
  ask: {
    data: z.object({
      prompt: z.string().trim().min(1).max(2_000),
      begun: z.string().max(20_000).optional(), // what the client has of the answer
    }),
    stream: z.object({ token: z.string() }),
    reply: z.object({ tokens: z.int() }),
  },
})
