// The errors of a link, with its folder.

import { AdapterError } from '../../errors.ts'

/** An error of the link of this folder. */
export function linkError(what: string, folder: string): AdapterError {
  return new AdapterError('ERR_KOAWS_BACKPLANE', `${what} (in ${folder})`)
}

/** The link is not up. */
export function notConnected(folder: string): AdapterError {
  return linkError('the other instances are not connected yet', folder)
}

/** Fewer instances are there than are expected. */
export function tooFew(there: number, expected: number, folder: string): AdapterError {
  return new AdapterError(
    'ERR_KOAWS_BACKPLANE',
    `${there} of ${expected} expected instances are in ${folder}: give all of them the same "folder", XDG_RUNTIME_DIR and TMPDIR`,
  )
}
