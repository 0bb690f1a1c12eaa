// Drives one endpoint with the PostgreSQL JDBC driver and checks every answer. Arguments: JDBC URL, user, password.
// Ends with the line "ok"; an unexpected answer is an exception.
import java.sql.*;
import java.util.Properties;

public final class Drive {
  static void check(boolean right, String what) {
    if (!right) throw new IllegalStateException(what);
  }

  public static void main(String[] args) throws Exception {
    var words = new Properties();
    words.setProperty("user", args[1]);
    words.setProperty("password", args[2]);
    words.setProperty("prepareThreshold", "3"); // named server-side statements from the third run on
    words.setProperty("ApplicationName", "drive");
    try (Connection c = DriverManager.getConnection(args[0], words)) {
      prepared(c);
      batch(c);
      errors(c);
      cursor(c);
      cancel(c);
      metadata(c);
    }
    System.out.println("ok");
  }

  static void prepared(Connection c) throws SQLException {
    try (PreparedStatement s = c.prepareStatement("select ? + 1, ?::text")) {
      for (int i = 0; i < 50; i++) {
        s.setInt(1, i);
        s.setString(2, i % 3 == 0 ? null : "v" + i);
        try (ResultSet r = s.executeQuery()) {
          check(r.next() && r.getInt(1) == i + 1, "sum " + i);
          check(i % 3 == 0 ? r.getString(2) == null : r.getString(2).equals("v" + i), "text " + i);
        }
      }
    }
  }

  static void batch(Connection c) throws SQLException {
    c.setAutoCommit(false);
    try (Statement s = c.createStatement()) {
      s.execute("drop table if exists jdbc_batch");
      s.execute("create table jdbc_batch (a int, b text)");
    }
    try (PreparedStatement s = c.prepareStatement("insert into jdbc_batch values (?, ?)")) {
      for (int i = 0; i < 1000; i++) {
        s.setInt(1, i);
        s.setString(2, "row " + i);
        s.addBatch();
      }
      check(s.executeBatch().length == 1000, "batch");
    }
    c.commit();
    try (Statement s = c.createStatement();
         ResultSet r = s.executeQuery("select count(*), sum(a), max(b) from jdbc_batch")) {
      check(r.next() && r.getInt(1) == 1000 && r.getLong(2) == 499500 && r.getString(3).equals("row 999"), "batch sums");
    }
    c.commit();
    c.setAutoCommit(true);
  }

  static void errors(Connection c) throws SQLException {
    for (int i = 0; i < 5; i++) {
      try (PreparedStatement s = c.prepareStatement("select 1 / ?")) {
        s.setInt(1, 0);
        s.executeQuery();
        check(false, "division by zero went unnoticed");
      } catch (SQLException e) {
        check("22012".equals(e.getSQLState()), "state " + e.getSQLState());
      }
    }
    c.setAutoCommit(false);
    try (Statement s = c.createStatement()) {
      s.execute("selekt");
      check(false, "nonsense went unnoticed");
    } catch (SQLException e) {
      check("42601".equals(e.getSQLState()), "state " + e.getSQLState());
    }
    c.rollback();
    c.setAutoCommit(true);
  }

  // Fetches by portal, 100 rows at a time.
  static void cursor(Connection c) throws SQLException {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("select g from generate_series(1, 2500) g")) {
      s.setFetchSize(100);
      long sum = 0;
      try (ResultSet r = s.executeQuery()) {
        while (r.next()) sum += r.getInt(1);
      }
      check(sum == 2500L * 2501 / 2, "cursor sum " + sum);
    }
    c.commit();
    c.setAutoCommit(true);
  }

  static void cancel(Connection c) throws SQLException {
    try (Statement s = c.createStatement()) {
      s.setQueryTimeout(1);
      s.execute("select pg_sleep(30)");
      check(false, "the time limit was not kept");
    } catch (SQLException e) {
      check("57014".equals(e.getSQLState()), "state " + e.getSQLState());
    }
    try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("select 5")) {
      check(r.next() && r.getInt(1) == 5, "after cancel");
    }
  }

  static void metadata(Connection c) throws SQLException {
    try (ResultSet r = c.getMetaData().getColumns(null, null, "jdbc_batch", null)) {
      check(r.next() && r.getString("COLUMN_NAME").equals("a"), "first column");
      check(r.next() && r.getString("COLUMN_NAME").equals("b") && !r.next(), "second column");
    }
  }
}
