import { expect } from 'chai'
import { ReplyError } from 'ioredis'
import { ErrorReply, SimpleError } from 'redis'
import { adapterError, codeOf, isRefusal, textOf } from '../../../lib/adapters/redis/replies.ts'
import { AdapterError } from '../../../lib/errors.ts'

describe('an error of a Redis client', () => {
  const make: Record<string, (text: string) => Error> = {
    ioredis: (text) => new (ReplyError as unknown as new (text: string) => Error)(text),
    'node-redis': (text) => new ErrorReply(text),
    'node-redis with RESP3': (text) => new SimpleError(text),
  }

  for (const [library, reply] of Object.entries(make)) {
    it(`counts as a refusal when every retry would fail too: ${library}`, () => {
      expect(isRefusal(reply('NOPERM this user has no permissions'))).to.equal(true)
      expect(isRefusal(reply("ERR unknown command 'publish'"))).to.equal(true)
      for (const text of [
        'LOADING Redis is loading',
        'READONLY You',
        'OOM command',
        'WRONGPASS x',
      ]) {
        expect(isRefusal(reply(text)), text).to.equal(false)
      }
    })
  }

  it('counts as a refusal only when Redis has sent it', () => {
    for (const error of [new Error('NOPERM'), { message: 'NOPERM' }, 'NOPERM', null, undefined]) {
      expect(isRefusal(error), String(error)).to.equal(false)
    }
  })

  it('has the code of the error within a script, in the forms of each version of Redis', () => {
    const script = 'script: 34d1, on @user_script:1.'
    for (const [text, code] of [
      ["OOM command not allowed when used memory > 'maxmemory'. script: x", 'OOM'],
      [
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
        'OOM',
      ],
      [
        `ERR The user executing the script can't run this command or subcommand ${script}`,
        'NOPERM',
      ],
      [
        `ERR ACL failure in script: User app has no permissions to run the 'set' command ${script}`,
        'NOPERM',
      ],
      ['NOSCRIPT No matching script.', 'NOSCRIPT'],
      ["ERR unknown command 'x'", 'ERR'],
      ['lower case', ''],
    ]) {
      expect(codeOf(new ErrorReply(text as string)), text).to.equal(code)
    }
    expect(codeOf(new Error('NOSCRIPT'))).to.equal('')
  })

  it('becomes an AdapterError once, with the cause', () => {
    const cause = new ErrorReply('NOPERM no')
    const error = adapterError('publish', cause)
    expect(error).to.be.instanceOf(AdapterError)
    expect(error).to.include({ code: 'ERR_KOAWS_BACKPLANE_REFUSED', cause })
    expect(adapterError('again', error)).to.equal(error)
    const away = adapterError('publish', new Error('ECONNRESET'))
    expect(away.code).to.equal('ERR_KOAWS_BACKPLANE')
  })

  it('is described in one line of at most 200 characters, with its code', () => {
    const coded = Object.assign(new Error('it failed'), { code: 'ECONNREFUSED' })
    expect(textOf(coded)).to.equal('it failed (ECONNREFUSED)')
    expect(textOf(new AggregateError([coded], ''))).to.equal('it failed (ECONNREFUSED)')
    expect(textOf(new Error('one\ntwo'))).not.to.include('\n')
    expect(textOf(new Error('x'.repeat(1_000))).length).to.be.at.most(200)
    expect(textOf('text')).to.equal('text')
  })
})
