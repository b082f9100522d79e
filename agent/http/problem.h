/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every way a request can fail, with its status and the code that clients see (contract: error codes). */

#include <jansson.h>

#define PROBLEMS(X)                                                   \
        X(INVALID_JSON, 400, "INVALID_JSON")                          \
        X(INVALID_REQUEST, 400, "INVALID_REQUEST")                    \
        X(MISSING_PARAMETER, 400, "MISSING_PARAMETER")                \
        X(INVALID_PATH, 400, "INVALID_PATH")                          \
        X(WORKDIR_NOT_FOUND, 400, "WORKDIR_NOT_FOUND")                \
        X(RUNTIME_NOT_AVAILABLE, 400, "RUNTIME_NOT_AVAILABLE")        \
        X(COMMAND_NOT_FOUND, 400, "COMMAND_NOT_FOUND")                \
        X(COMMAND_NOT_EXECUTABLE, 400, "COMMAND_NOT_EXECUTABLE")      \
        X(UNAUTHENTICATED, 401, "AUTHENTICATION_REQUIRED")            \
        X(INVALID_TOKEN, 401, "INVALID_TOKEN")                        \
        X(TOKEN_EXPIRED, 401, "TOKEN_EXPIRED")                        \
        X(ORIGIN_NOT_ALLOWED, 403, "ORIGIN_NOT_ALLOWED")              \
        X(PATH_NOT_ALLOWED, 403, "PATH_NOT_ALLOWED")                  \
        X(PERMISSION_DENIED, 403, "PERMISSION_DENIED")                \
        X(NOT_FOUND, 404, "NOT_FOUND")                                \
        X(TERMINAL_NOT_FOUND, 404, "TERMINAL_NOT_FOUND")              \
        X(PROCESS_NOT_FOUND, 404, "PROCESS_NOT_FOUND")                \
        X(FILE_NOT_FOUND, 404, "FILE_NOT_FOUND")                      \
        X(DIRECTORY_NOT_FOUND, 404, "DIRECTORY_NOT_FOUND")            \
        X(METHOD_NOT_ALLOWED, 405, "METHOD_NOT_ALLOWED")              \
        X(REQUEST_TIMEOUT, 408, "REQUEST_TIMEOUT")                    \
        X(PROCESS_NOT_RUNNING, 409, "PROCESS_NOT_RUNNING")            \
        X(FILE_ALREADY_EXISTS, 409, "FILE_ALREADY_EXISTS")            \
        X(DIRECTORY_NOT_EMPTY, 409, "DIRECTORY_NOT_EMPTY")            \
        X(FILE_BUSY, 409, "FILE_BUSY")                                \
        X(TEXT_NOT_FOUND, 409, "TEXT_NOT_FOUND")                      \
        X(TEXT_NOT_UNIQUE, 409, "TEXT_NOT_UNIQUE")                    \
        X(IDEMPOTENCY_TOO_LARGE, 409, "IDEMPOTENCY_RESULT_TOO_LARGE") \
        X(PRECONDITION_FAILED, 412, "PRECONDITION_FAILED")            \
        X(TOO_LARGE, 413, "PAYLOAD_TOO_LARGE")                        \
        X(URI_TOO_LONG, 414, "URI_TOO_LONG")                          \
        X(UNSUPPORTED_MEDIA_TYPE, 415, "UNSUPPORTED_MEDIA_TYPE")      \
        X(RANGE_NOT_SATISFIABLE, 416, "RANGE_NOT_SATISFIABLE")        \
        X(EXPECTATION_FAILED, 417, "EXPECTATION_FAILED")              \
        X(IDEMPOTENCY_REUSED, 422, "IDEMPOTENCY_KEY_REUSED")          \
        X(UPGRADE_REQUIRED, 426, "UPGRADE_REQUIRED")                  \
        X(HEADERS_TOO_LARGE, 431, "HEADERS_TOO_LARGE")                \
        X(LIMIT_REACHED, 429, "RATE_LIMIT_EXCEEDED")                  \
        X(INTERNAL, 500, "INTERNAL_ERROR")                            \
        X(FILE_OPERATION_FAILED, 500, "FILE_OPERATION_FAILED")        \
        X(NO_SPACE, 507, "NO_SPACE")                                  \
        X(HTTP_VERSION, 505, "HTTP_VERSION_NOT_SUPPORTED")            \
        X(UNAVAILABLE, 503, "SERVICE_UNAVAILABLE")

enum problem {
#define PROBLEM_ENUM_(name, status, code) PROBLEM_##name,
        PROBLEMS(PROBLEM_ENUM_)
#undef PROBLEM_ENUM_
                N_PROBLEMS
};

unsigned problem_status(enum problem p);
const char *problem_code(enum problem p);

/* The error document in the superset shape that all public clients understand. @field (a JSON pointer) may be
 * NULL or empty. Returns a new reference. */
json_t *problem_document(enum problem p, const char *message, const char *field,
                         const char *request_id);
