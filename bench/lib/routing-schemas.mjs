import { type } from 'arktype'
import * as v from 'valibot'
import { z } from 'zod'

/** The two messages of routing.mjs, and their schemas in three libraries. */
export const sizes = {
  small: {
    bytes: 78,
    data: (i) => ({ room: 'lobby', text: `message ${i} ` }),
    pad: (data, fill) => ({ ...data, text: data.text + fill }),
  },
  nested: {
    bytes: 562,
    data: (i) => ({
      order: {
        number: 100_000 + i,
        customer: { name: 'Ada Lovelace', email: 'ada@example.com', tags: ['new', 'newsletter'] },
        lines: [
          { sku: 'KW-1001', quantity: 2, price: 19.9, options: { colour: 'red', gift: false } },
          { sku: 'KW-2002', quantity: 1, price: 249, options: { colour: 'blue', gift: true } },
          { sku: 'KW-3003', quantity: 12, price: 1.25, options: { colour: 'green', gift: false } },
        ],
      },
      note: '',
    }),
    pad: (data, fill) => ({ ...data, note: data.note + fill }),
  },
}

const zod = {
  small: z.object({ room: z.string().max(64), text: z.string().max(500) }),
  nested: z.object({
    order: z.object({
      number: z.number().int(),
      customer: z.object({
        name: z.string().max(100),
        email: z.string().max(100),
        tags: z.array(z.string().max(20)).max(10),
      }),
      lines: z
        .array(
          z.object({
            sku: z.string().max(20),
            quantity: z.number().int().min(1),
            price: z.number().min(0),
            options: z.object({ colour: z.string().max(20), gift: z.boolean() }),
          }),
        )
        .max(50),
    }),
    note: z.string().max(500),
  }),
}

const upTo = (most) => v.pipe(v.string(), v.maxLength(most))

const valibot = {
  small: v.object({ room: upTo(64), text: upTo(500) }),
  nested: v.object({
    order: v.object({
      number: v.pipe(v.number(), v.integer()),
      customer: v.object({
        name: upTo(100),
        email: upTo(100),
        tags: v.pipe(v.array(upTo(20)), v.maxLength(10)),
      }),
      lines: v.pipe(
        v.array(
          v.object({
            sku: upTo(20),
            quantity: v.pipe(v.number(), v.integer(), v.minValue(1)),
            price: v.pipe(v.number(), v.minValue(0)),
            options: v.object({ colour: upTo(20), gift: v.boolean() }),
          }),
        ),
        v.maxLength(50),
      ),
    }),
    note: upTo(500),
  }),
}

const arktype = {
  small: type({ room: 'string <= 64', text: 'string <= 500' }),
  nested: type({
    order: {
      number: 'number.integer',
      customer: { name: 'string <= 100', email: 'string <= 100', tags: '(string <= 20)[] <= 10' },
      lines: type({
        sku: 'string <= 20',
        quantity: 'number.integer >= 1',
        price: 'number >= 0',
        options: { colour: 'string <= 20', gift: 'boolean' },
      })
        .array()
        .atMostLength(50),
    },
    note: 'string <= 500',
  }),
}

export const schemas = { zod, valibot, arktype }
