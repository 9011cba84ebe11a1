/** Checks that run during an attack. */
export interface Watch {
  /** The failed checks so far, one sentence each. */
  readonly violations: readonly string[]
  /** Checks the prototypes once more, and stops. */
  end(): void
}

const WATCHED: Record<string, object> = {
  'Object.prototype': Object.prototype,
  'Array.prototype': Array.prototype,
  'Function.prototype': Function.prototype,
  'String.prototype': String.prototype,
  'Error.prototype': Error.prototype,
  'Promise.prototype': Promise.prototype,
  Object,
}

const namesOf = (object: object): string => Reflect.ownKeys(object).map(String).join()

/** Watches for uncaught errors and changed prototypes. */
export function watchProcess(every = 500): Watch {
  const violations: string[] = []
  const wrong = (what: string): void => {
    if (violations.length < 20) violations.push(what)
  }
  const onException = (error: unknown): void => wrong(`uncaught: ${describe(error)}`)
  const onRejection = (error: unknown): void => wrong(`unhandled rejection: ${describe(error)}`)
  const restore = [
    replaceListeners('uncaughtException', onException),
    replaceListeners('unhandledRejection', onRejection),
  ]
  const before = Object.entries(WATCHED).map(([name, object]) => ({
    name,
    object,
    names: namesOf(object),
  }))
  const look = (): void => {
    for (const { name, object, names } of before) {
      if (namesOf(object) !== names) wrong(`${name} has other properties than before`)
    }
    if ('polluted' in {} || 'polluted' in [] || 'polluted' in Function) wrong('polluted')
  }
  const timer = setInterval(look, every)
  timer.unref()
  return {
    violations,
    end() {
      clearInterval(timer)
      look()
      for (const undo of restore) undo()
    },
  }
}

/**
 * Replaces the listeners of mocha, which would report a failed test. @returns a function that
 * restores them
 */
function replaceListeners(event: string, listener: (error: unknown) => void): () => void {
  const others = process.rawListeners(event) as ((error: unknown) => void)[]
  process.removeAllListeners(event)
  process.on(event, listener)
  return () => {
    process.off(event, listener)
    for (const other of others) process.on(event, other)
  }
}

function describe(error: unknown): string {
  try {
    return String((error as Error).stack ?? error).slice(0, 500)
  } catch {
    return 'something that cannot be shown'
  }
}
