/** Values that an application could throw or return, and that throw when they are inspected. */
export function hostileValues(): Record<string, () => unknown> {
  const trap = (name: string) => (): never => {
    throw new Error(`the trap ${name}`)
  }
  const traps = (except: readonly string[] = []): ProxyHandler<object> =>
    Object.fromEntries(
      (
        [
          'get',
          'set',
          'has',
          'deleteProperty',
          'ownKeys',
          'getOwnPropertyDescriptor',
          'defineProperty',
          'getPrototypeOf',
          'setPrototypeOf',
          'isExtensible',
          'preventExtensions',
          'apply',
          'construct',
        ] as const
      )
        .filter((name) => !except.includes(name))
        .map((name) => [name, trap(name)]),
    )
  const getters = (target: object): object => {
    for (const name of [
      'then',
      'message',
      'name',
      'stack',
      'code',
      'status',
      'statusCode',
      'expose',
      'headers',
      'constructor',
      'toString',
      'toJSON',
    ]) {
      Object.defineProperty(target, name, { get: trap(name), configurable: true })
    }
    return target
  }
  return {
    'an error behind a Proxy with a throwing `has`': () =>
      new Proxy(new Error('proxied'), { has: trap('has') }),
    'a Proxy with throwing traps': () => new Proxy(new Error('proxied'), traps()),
    'a Proxy of a function with throwing traps': () => new Proxy(() => {}, traps()),
    'a Proxy that throws at all but `get`': () => new Proxy(new Error('proxied'), traps(['get'])),
    'a revoked Proxy': () => {
      const { proxy, revoke } = Proxy.revocable(new Error('proxied'), {})
      revoke()
      return proxy
    },
    'an error with throwing getters': () => getters(new Error('error')),
    'an object with throwing getters': () => getters({}),
    'an object without a prototype': () => Object.create(null) as unknown,
    'a symbol': () => Symbol('symbol'),
    'a BigInt': () => 1n,
    'a frozen error': () => Object.freeze(new Error('frozen')),
    'a thenable with a throwing `then`': () => thenable(trap('then()')),
    'a thenable that settles twice': () => thenable(settleTwice),
    'a promise with a throwing `then`': () => thenable(trap('then()'), Promise.resolve(1)),
    'a promise with a throwing `catch` and `constructor`': () =>
      Object.defineProperties(Promise.resolve(1), {
        catch: { get: trap('catch') },
        constructor: { get: trap('constructor') },
      }),
    undefined: () => undefined,
  }
}

function thenable(then: unknown, target: object = {}): object {
  return Object.defineProperty(target, 'then', { value: then })
}

function settleTwice(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
  resolve(1)
  reject(new Error('twice'))
  reject(new Error('three times'))
}
