package edgekit.runtime;

/**
 * What can go wrong with a bundle, a picture or the engine, with the same codes as edgekit in Python (README, "Exit
 * codes"): EK and three digits, of which the first says what kind of fault it is.
 */
public final class EdgekitException extends RuntimeException {
    private final String code;

    public EdgekitException(String code, String message) {
        super(message);
        this.code = code;
    }

    public EdgekitException(String code, String message, Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    public String code() {
        return code;
    }

    /** Of the command: 2 for what was asked wrongly (EK1xx), otherwise the code's first digit. */
    public int exitCode() {
        return Math.max(2, code.charAt(2) - '0');
    }
}
