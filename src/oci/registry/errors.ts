import { FlixwrapError, printable } from "../../core/errors.ts";
import { readBody, type HttpAnswer } from "../network/http.ts";
import { Passing } from "../network/retry.ts";

/** Bytes of a refusal that are looked at. */
const MAX_PROBLEM = 64 << 10;

/** What a registry says is wrong: distribution-spec, "Error Codes". */
export async function readProblem(answer: HttpAnswer): Promise<string | undefined> {
  try {
    const { errors } = JSON.parse((await readBody(answer, MAX_PROBLEM)).toString("utf8")) as {
      errors?: { code?: unknown; message?: unknown }[];
    };
    const first = errors?.[0];
    const text = [first?.code, first?.message].filter((part) => typeof part === "string" && part !== "").join(": ");
    return text === "" ? undefined : printable(text.slice(0, 300));
  } catch {
    // Not every refusal has a body, or one of that form.
    answer.body.destroy();
    return undefined;
  }
}

/** Codes of the system, and of Node's TLS, in words. */
const connectionProblems: Readonly<Record<string, { readonly got: string; readonly tries?: number }>> = {
  ECONNREFUSED: { got: "connection refused", tries: 3 },
  ENOTFOUND: { got: "no such host", tries: 1 },
  EAI_AGAIN: { got: "the name cannot be resolved" },
  ECONNRESET: { got: "the connection broke" },
  EPIPE: { got: "the connection broke" },
  ERR_STREAM_PREMATURE_CLOSE: { got: "the connection broke" },
  ETIMEDOUT: { got: "no answer in time" },
  EHOSTUNREACH: { got: "no route to the host", tries: 3 },
  ENETUNREACH: { got: "no route to the network", tries: 3 },
  ETOKEN: { got: "its token server does not work" },
};

/** Whether a certificate was refused: codes of OpenSSL and of Node's own checks. */
export const isDistrust = (error: unknown): boolean =>
  /^(CERT_|ERR_TLS|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH)/.test(
    (error as NodeJS.ErrnoException).code ?? "",
  );

/** A failed exchange as an error for people, wrapped as passing when another try may help. */
export function explainFailure(error: unknown, host: string): Error {
  if (error instanceof FlixwrapError || error instanceof Passing) return error;
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (code === "EPROXY") {
    return new FlixwrapError("oci-unreachable", { what: "cannot reach the registry", where: host, got: message });
  }
  const known = connectionProblems[code];
  if (known !== undefined) {
    const unreachable = new FlixwrapError(
      "oci-unreachable",
      { what: "cannot reach the registry", where: host, got: known.got },
      { cause: error },
    );
    return new Passing(unreachable, known.tries === undefined ? {} : { tries: known.tries });
  }
  if (isDistrust(error) || /^(ERR_SSL|EPROTO)/.test(code)) {
    return new FlixwrapError(
      "oci-tls",
      {
        what: "cannot trust the registry",
        where: host,
        got: message,
        hint: "name its certificate authority with --ca-file, or use --tls-verify=false",
      },
      { cause: error },
    );
  }
  if (/^(HPE_|ERR_HTTP)/.test(code)) {
    return new FlixwrapError(
      "oci-registry",
      { what: "this is no registry", where: host, got: message },
      { cause: error },
    );
  }
  return error as Error;
}
