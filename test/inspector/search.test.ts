import { expect } from 'chai'
import type { Connection } from '../../lib/index.ts'
import {
  type Cursor,
  PAGE,
  pageVisitor,
  readSearch,
  type Search,
} from '../../lib/inspector/search.ts'

function connection(i: number): Connection {
  const made = {
    id: `id-${String((i * 7919) % 1_000).padStart(3, '0')}`,
    userId: i % 3 === 0 ? undefined : `user-${i % 5}`,
    ip: `10.0.0.${i % 4}`,
    path: i % 2 === 0 ? '/even' : '/odd',
    rooms: new Set([`room-${i % 10}`]),
    openedAt: 1_000 + (i % 100),
    bytesRead: i % 13,
    bytesWritten: i % 17,
    bufferedAmount: i % 2,
    rtt: i % 5 === 0 ? undefined : i % 7,
  }
  return made as unknown as Connection
}

const all = Array.from({ length: 1_000 }, (_, i) => connection(i))

function walk(search: Search, connections: readonly Connection[] = all): string[] {
  const ids: string[] = []
  let after: Cursor | null = null
  for (;;) {
    const visitor = pageVisitor({ ...search, after })
    for (const one of connections) visitor.visit(one)
    const { page, isWhole }: ReturnType<typeof visitor.result> = visitor.result(true)
    expect(isWhole).to.equal(true)
    expect(page.length).to.be.at.most(PAGE)
    ids.push(...page.map(({ id }) => id))
    after = page.at(-1) ?? null
    if (page.length < PAGE || after === null) return ids
  }
}

describe('a search for connections', () => {
  for (const sort of ['age', 'bytes', 'queue', 'rtt'] as const) {
    for (const descending of [true, false]) {
      it(`by ${sort}, ${descending ? 'largest' : 'smallest'} first, pages through each once, in order`, () => {
        const keys = {
          age: ({ openedAt }: Connection) => -openedAt,
          bytes: ({ bytesRead, bytesWritten }: Connection) => bytesRead + bytesWritten,
          queue: ({ bufferedAmount }: Connection) => bufferedAmount,
          rtt: ({ rtt }: Connection) => rtt ?? -1,
        }
        const sign = descending ? -1 : 1
        const expected = [...all]
          .sort((a, b) => sign * (keys[sort](a) - keys[sort](b)) || (a.id < b.id ? -1 : 1))
          .map(({ id }) => id)
        expect(walk(readSearch({ sort, descending }))).to.deep.equal(expected)
      })
    }
  }

  it('counts what fits, and what other pages have', () => {
    const count = (field: string, text: string): number => {
      const visitor = pageVisitor(readSearch({ field, text }))
      for (const one of all) visitor.visit(one)
      return visitor.result(true).matched
    }
    expect(count('any', '')).to.equal(1_000)
    expect(count('path', '/ev')).to.equal(500)
    expect(count('room', 'room-3')).to.equal(100)
    expect(count('room', 'room-')).to.equal(0) // rooms by their whole name
    expect(count('ip', '10.0.0.1')).to.equal(250)
    expect(count('id', 'id-00')).to.equal(10)
    expect(count('user', 'user-4')).to.equal(all.filter(({ userId }) => userId === 'user-4').length)
    expect(count('any', 'room-3')).to.equal(100)
  })

  it('reads anything, with defaults for what is wrong', () => {
    const usual = { text: '', field: 'any', sort: 'age', descending: true, after: null }
    for (const wrong of [
      undefined,
      null,
      7,
      [],
      { text: 7, field: 'x', sort: {}, after: { id: 1 } },
    ]) {
      expect(readSearch(wrong)).to.deep.equal(usual)
    }
    expect(readSearch({ text: 'x'.repeat(300) }).text).to.have.length(255)
    expect(readSearch({ after: { id: 'a', key: Number.NaN } }).after).to.deep.equal({
      id: 'a',
      key: 0,
    })
  })
})
