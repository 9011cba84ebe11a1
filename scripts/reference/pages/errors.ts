/**
 * # Error classes
 *
 * From `koaws`. The codes, with their HTTP status and close code, are in [errors and close codes](../errors.md).
 *
 * @module errors
 */
export {
  AdapterError,
  CloseCode,
  type ErrorCode,
  type ErrorInfo,
  type ErrorPlace,
  errorTable,
  KoaWsError,
  type KoaWsErrorInit,
  MessageError,
  type MessageErrorInit,
  type MessageFault,
  OptionsError,
  UpgradeError,
} from '../../../lib/index.ts'
