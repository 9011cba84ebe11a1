import { expect } from 'chai'
import { asyncapi } from '../../lib/asyncapi/index.ts'
import { OptionsError, protocol } from '../../lib/index.ts'

const info = { title: 'Chat', version: '1.0.0' }
const servers = { production: 'wss://chat.example.com' }
const chat = protocol({ say: {}, said: { push: true } })

/** Calls asyncapi() as JavaScript does, without types. */
const untyped: (protocol: unknown, options?: unknown) => unknown = asyncapi as never

describe('the options of asyncapi()', () => {
  it('need a protocol, a title and a version', () => {
    for (const bad of [undefined, null, {}, { types: 7 }, { say: {} }])
      expect(() => untyped(bad, { info })).to.throw(OptionsError, 'takes the result of protocol()')
    for (const bad of [undefined, null, 7, []])
      expect(() => untyped(chat, bad)).to.throw(OptionsError, 'takes a protocol and an object')
    for (const bad of [
      undefined,
      null,
      {},
      { title: 'x' },
      { title: '', version: '1' },
      { title: 'x', version: 1 },
    ])
      expect(() => untyped(chat, { info: bad })).to.throw(OptionsError, 'needs the strings title')
    const cyclic: Record<string, unknown> = { ...info }
    cyclic['self'] = cyclic
    expect(() => untyped(chat, { info: cyclic })).to.throw(OptionsError, 'must be plain JSON')
  })

  const wrong: [options: object, message: string][] = [
    [{ server: servers }, 'has no option "server"'],
    [{ servers: [] }, 'must be an object of servers by name'],
    [{ servers: { 'a b': 'wss://x.example.com' } }, 'has the name "a b"'],
    [{ servers: { a: 'https://x.example.com' } }, 'has a wrong URL as "a"'],
    [{ servers: { a: { host: 'x' } } }, 'needs a URL as "a"'],
    [{ servers: { a: { host: 'x/y', protocol: 'wss' } } }, 'has a wrong host as "a"'],
    [{ servers: { a: { host: 'x', protocol: 'wss', security: [] } } }, 'has "security" in "a"'],
    [{ path: 'rooms' }, 'must be a string that begins with a slash'],
    [{ path: '/rooms{/:room}' }, 'neither optional parts nor wildcards'],
    [{ path: '/files/*path' }, 'neither optional parts nor wildcards'],
    [{ path: '/:a/:a' }, 'has a parameter twice'],
    [{ path: '/:a', parameters: { b: {} } }, 'has "b", which is not in the path'],
    [{ path: '/:a', parameters: { a: 'text' } }, 'needs an object as "a"'],
    [{ parameters: [] }, 'must be an object of parameters'],
    [{ security: [{ in: 'cookie', name: 'sid' }] }, 'name one in "servers"'],
    [{ servers, security: { in: 'header' } }, 'must be a list'],
    [{ servers, security: [{ in: 'cookie' }] }, 'needs the name of the cookie'],
    [{ servers, security: [{ in: 'header', name: 'X' }] }, 'has a name for "header"'],
    [{ servers, security: [{ in: 'body' }] }, 'needs "in" in each entry'],
    [{ servers, security: ['cookie'] }, 'needs "in" in each entry'],
    [{ servers, security: [{ in: 'header' }, { in: 'header' }] }, 'has the same way twice'],
    [{ history: 1 }, 'must be true or false'],
    [{ ids: [] }, 'must be an object'],
    [{ ids: { other: 'x' } }, 'has "other", which is not a type'],
    [{ ids: { say: 'a b' } }, 'has a wrong name for "say"'],
    [{ ids: { say: 'koaws_x' } }, 'has a wrong name for "say"'],
    [{ ids: { say: 'constructor' } }, 'has a wrong name for "say"'],
    [{ ids: { say: 'x', said: 'x' } }, 'has the name "x" for two types'],
    [{ toJsonSchema: {} }, 'must be a function'],
    [{ ids: { say: '1a' } }, 'has a wrong name for "say"'],
    [{ view: 'both' }, 'must be "server" or "client"'],
    [{ unrepresentable: 'ignore' }, 'must be "throw" or "any"'],
  ]
  for (const [options, message] of wrong) {
    it(`are refused for ${JSON.stringify(options)}`, () => {
      expect(() => untyped(chat, { info, ...options })).to.throw(OptionsError, message)
    })
  }

  it('may be undefined', () => {
    const names = ['servers', 'path', 'parameters', 'security', 'refresh', 'history', 'presence']
    const others = ['ids', 'toJsonSchema', 'unrepresentable', 'defaults']
    const options = Object.fromEntries([...names, ...others].map((name) => [name, undefined]))
    expect(untyped(chat, { info, ...options })).to.deep.equal(untyped(chat, { info }))
  })
})
