import { expect } from 'chai'
import { Arguments, UsageError } from '../../lib/cli/arguments.ts'
import {
  headerObject,
  isLoopback,
  TARGET_OPTIONS,
  type Target,
  targetOf,
} from '../../lib/cli/target.ts'

const parse = (...words: string[]): Target => targetOf(new Arguments(words, TARGET_OPTIONS))

describe('targetOf', () => {
  it('reads an address as a browser does', () => {
    expect(parse('wss://Example.com/chat?a=1')).to.include({
      secure: true,
      host: 'example.com',
      port: 443,
      authority: 'example.com',
      path: '/chat?a=1',
      shown: 'wss://example.com/chat?…',
      origin: 'https://example.com',
    })
    expect(parse('ws://[::1]:8080')).to.include({
      secure: false,
      host: '::1',
      port: 8080,
      authority: '[::1]:8080',
      path: '/',
      origin: 'http://[::1]:8080',
    })
    expect(parse('https://example.com/').shown).to.equal('wss://example.com/')
  })

  it('turns user and password into a header, and shows neither', () => {
    const target = parse('ws://ann:p%40ss@localhost/')
    expect(target.headers).to.deep.equal([
      ['Authorization', `Basic ${Buffer.from('ann:p@ss').toString('base64')}`],
    ])
    expect(target.shown).to.equal('ws://localhost/')
    expect(target.secrets.redact('p%40ss and p@ss')).to.equal('*** and ***')
  })

  it('offers a token as koaws/client does', () => {
    expect(parse('ws://a/', '--token', 'abc.def').bearers).to.deep.equal(['koaws.bearer.abc.def'])
    expect(parse('ws://a/', '--token', 'a/b=').bearers).to.deep.equal([
      `koaws.bearer64.${Buffer.from('a/b=').toString('base64url')}`,
    ])
    const typed = parse('ws://a/', '--protocol', 'koaws.bearer.abcdef', '--protocol', 'chat')
    expect(typed).to.deep.include({ bearers: ['koaws.bearer.abcdef'], protocols: ['chat'] })
    expect(typed.secrets.redact('abcdef')).to.equal('***')
  })

  it('keeps several headers of one name', () => {
    const { headers } = parse('ws://a/', '--header', 'X-A: 1', '--header', 'x-a:2', '--header=B:')
    expect(headerObject(headers)).to.deep.equal({ 'x-a': ['1', '2'], b: [''] })
  })

  it('says what is wrong, without the values', () => {
    const wrong: [RegExp, ...string[]][] = [
      [/address is missing/],
      [/one address/, 'ws://a/', 'ws://b/'],
      [/must begin with wss/, 'example.com'],
      [/must begin with wss/, 'ftp://example.com'],
      [/no fragment/, 'ws://a/#hidden-value'],
      [/percent-encoded/, 'ws://%ff:hidden-value@a/'],
      [/'Name: value'/, 'ws://a/', '--header', 'hidden-value'],
      [/'Name: value'/, 'ws://a/', '--header', 'A: hidden-value\r\nB: c'],
      [/cannot set Upgrade/, 'ws://a/', '--header', 'Upgrade: hidden-value'],
      [/Use --protocol/, 'ws://a/', '--header', 'Sec-WebSocket-Protocol: hidden-value'],
      [/Use --origin/, 'ws://a/', '--header', 'Origin: hidden-value'],
      [/without spaces/, 'ws://a/', '--protocol', 'a, hidden-value'],
      [/twice/, 'ws://a/', '--protocol', 'a', '--protocol', 'a'],
      [/printable ASCII/, 'ws://a/', '--token', 'hidden-value ü'],
      [/printable ASCII/, 'ws://a/', '--token', ''],
      [/scheme and a host/, 'ws://a/', '--origin', 'example.com/hidden-value'],
    ]
    for (const [pattern, ...words] of wrong) {
      expect(() => parse(...words), words.join(' ')).to.throw(UsageError, pattern)
      expect(() => parse(...words)).to.not.throw(/hidden-value/)
    }
  })

  it('knows addresses of this machine', () => {
    const hosts = ['ws://127.3.4.5/', 'ws://localhost/', 'ws://[::1]/', 'ws://127.example.com/']
    expect(hosts.map((url) => isLoopback(parse(url)))).to.deep.equal([true, true, true, false])
  })
})
