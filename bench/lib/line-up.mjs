import { startServer } from './children.mjs'

/** Starts all contestants; a contestant that fails to start is reported and left out. */
export async function lineUp(names, behaviour, baseline) {
  const servers = new Map()
  const leftOut = {}
  for (const name of names) {
    try {
      servers.set(name, await startServer(name, behaviour))
    } catch (error) {
      leftOut[name] = firstLine(error)
      console.log(`left out: ${name}: ${leftOut[name]}`)
    }
  }
  if (!servers.has(baseline)) throw new Error(`the baseline ${baseline} did not start`)
  return { servers, leftOut }
}

export function firstLine(error) {
  return String(error.message).split('\n')[0]
}
